//! XML documents of Tableau's REST API, as far as used; every child and attribute is optional.

use quick_xml::de::from_str;
use serde::{Deserialize, Serialize};

/// Root of a response.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Response {
    pub(super) error: Option<ErrorDetail>,
    pub(super) server_info: Option<ServerInfo>,
    pub(super) credentials: Option<Credentials>,
    pub(super) job: Option<JobElement>,
    pub(super) background_jobs: Option<JobList>,
    pub(super) datasource: Option<Content>,
    pub(super) workbook: Option<Content>,
    pub(super) tasks: Option<TaskList>,
    #[serde(default)]
    pub(super) task: Vec<Task>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ErrorDetail {
    #[serde(rename = "@code")]
    pub(super) code: Option<String>,
    pub(super) summary: Option<String>,
    pub(super) detail: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServerInfo {
    pub(super) rest_api_version: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Credentials {
    #[serde(rename = "@token")]
    pub(super) token: Option<String>,
    pub(super) site: Option<Content>,
}

/// A site, data source or workbook.
#[derive(Debug, Deserialize)]
pub(super) struct Content {
    #[serde(rename = "@id")]
    pub(super) id: Option<String>,
    #[serde(rename = "@updatedAt")]
    pub(super) updated_at: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct JobElement {
    #[serde(rename = "@id")]
    pub(super) id: Option<String>,
    #[serde(rename = "@createdAt")]
    pub(super) created_at: Option<String>,
    #[serde(rename = "@completedAt")]
    pub(super) completed_at: Option<String>,
    #[serde(rename = "@finishCode")]
    pub(super) finish_code: Option<String>,
    /// Children of any name.
    #[serde(rename = "$value", default)]
    pub(super) children: Vec<Refreshed>,
}

/// The refreshed object.
#[derive(Debug, Deserialize)]
pub(super) struct Refreshed {
    #[serde(rename = "@id")]
    pub(super) id: Option<String>,
    pub(super) datasource: Option<Content>,
    pub(super) workbook: Option<Content>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct JobList {
    #[serde(default)]
    pub(super) background_job: Vec<ListedJob>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ListedJob {
    #[serde(rename = "@id")]
    pub(super) id: Option<String>,
    #[serde(rename = "@jobType")]
    pub(super) job_type: Option<String>,
    #[serde(rename = "@endedAt")]
    pub(super) ended_at: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct TaskList {
    #[serde(default)]
    pub(super) task: Vec<Task>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Task {
    pub(super) extract_refresh: Option<Refreshed>,
}

/// Parses a response; `None` unless it is a well-formed Tableau document.
pub(super) fn parse(bytes: &[u8]) -> Option<Response> {
    #[derive(Deserialize)]
    enum Root {
        #[serde(rename = "tsResponse")]
        Response(Response),
    }
    let text = std::str::from_utf8(bytes).ok()?;
    let Root::Response(response) = from_str(text.strip_prefix('\u{feff}').unwrap_or(text)).ok()?;
    Some(response)
}

/// Sign-in with a personal access token.
#[derive(Serialize)]
#[serde(rename = "tsRequest")]
pub(super) struct SignIn<'a> {
    pub(super) credentials: AccessToken<'a>,
}

#[derive(Serialize)]
pub(super) struct AccessToken<'a> {
    #[serde(rename = "@personalAccessTokenName")]
    pub(super) name: &'a str,
    #[serde(rename = "@personalAccessTokenSecret")]
    pub(super) secret: &'a str,
    pub(super) site: Site<'a>,
}

#[derive(Serialize)]
pub(super) struct Site<'a> {
    #[serde(rename = "@contentUrl")]
    pub(super) content_url: &'a str,
}

#[cfg(test)]
mod tests {
    use quick_xml::se::to_string;

    use super::*;

    #[test]
    fn a_request_is_escaped() {
        let site = Site { content_url: "" };
        let credentials = AccessToken { name: "a \"quoted\" <name> & 'more'", secret: "s", site };
        let text = to_string(&SignIn { credentials }).expect("XML");
        assert_eq!(
            text,
            "<tsRequest><credentials personalAccessTokenName=\"a &quot;quoted&quot; &lt;name&gt; \
             &amp; 'more'\" personalAccessTokenSecret=\"s\"><site contentUrl=\"\"/></credentials>\
             </tsRequest>"
        );
    }

    #[test]
    fn prefixes_and_declarations_do_not_matter() {
        let text = "\u{feff}<?xml version='1.0'?><!-- hello --><t:tsResponse xmlns:t='http://tableau.com/api'>\
                    <t:job t:id='7'/><error><detail> a &lt;b&gt; &#65;<![CDATA[<c>]]></detail></error>\
                    </t:tsResponse>\n";
        let root = parse(text.as_bytes()).expect("XML");
        assert_eq!(root.job.and_then(|job| job.id).as_deref(), Some("7"));
        let detail = root.error.and_then(|error| error.detail);
        assert_eq!(detail.as_deref().map(str::trim), Some("a <b> A<c>"));
    }

    #[test]
    fn entities_of_a_document_are_never_expanded() {
        let head = "<!DOCTYPE r [<!ENTITY a 'xxxxxxxxxx'><!ENTITY b '&a;&a;&a;&a;'>\
                    <!ENTITY f SYSTEM 'file:///etc/passwd'>]>";
        for body in [
            "<tsResponse><job id='&b;'/></tsResponse>",
            "<tsResponse><error><detail>before&b;after</detail></error></tsResponse>",
            "<tsResponse><error><detail>&f;</detail></error></tsResponse>",
        ] {
            assert!(parse(format!("{head}{body}").as_bytes()).is_none(), "{body}");
        }
    }

    #[test]
    fn what_is_no_document_is_none() {
        let texts = [
            "",
            "{\"error\":{}}",
            "<tsResponse>",
            "<tsResponse></b>",
            "<a></a>",
            "<!DOCTYPE html><html><br></html>",
            "plain",
        ];
        for text in texts {
            assert!(parse(text.as_bytes()).is_none(), "{text}");
        }
        assert!(parse(b"<tsResponse b='\xff'/>").is_none());
    }

    #[test]
    fn deep_nesting_does_no_harm() {
        let (open, close) = ("<a>".repeat(100_000), "</a>".repeat(100_000));
        let text = format!("<tsResponse>{open}{close}<job id='7'/></tsResponse>");
        assert!(parse(text.as_bytes()).is_some_and(|root| root.job.is_some()));
        let text = format!("<tsResponse><job id='7'>{open}{close}</job></tsResponse>");
        assert!(parse(text.as_bytes()).is_some_and(|root| root.job.is_some()));
    }
}
