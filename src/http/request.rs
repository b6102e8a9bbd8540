//! An HTTP request as plain data.

use std::fmt::{self, Write as _};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Post,
    Put,
    Delete,
}

/// A request; its debug output is only the method.
#[derive(Clone)]
pub(crate) struct Request {
    method: Method,
    url: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Request {
    pub(crate) fn new(method: Method, url: impl Into<String>) -> Self {
        Self { method, url: url.into(), headers: Vec::new(), body: None }
    }

    pub(crate) fn get(url: impl Into<String>) -> Self {
        Self::new(Method::Get, url)
    }

    pub(crate) fn post(url: impl Into<String>) -> Self {
        Self::new(Method::Post, url)
    }

    pub(crate) fn put(url: impl Into<String>) -> Self {
        Self::new(Method::Put, url)
    }

    pub(crate) fn delete(url: impl Into<String>) -> Self {
        Self::new(Method::Delete, url)
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("Authorization", format!("Bearer {token}"))
    }

    pub(crate) fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self.header("Content-Type", content_type)
    }

    pub(crate) fn json(self, value: &serde_json::Value) -> Self {
        self.body("application/json", value.to_string())
    }

    /// Sets a form as the body; names and values are percent-encoded.
    pub(crate) fn form(self, fields: &[(&str, &str)]) -> Self {
        let text: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{}={}", escape(name), escape(value)))
            .collect();
        self.body("application/x-www-form-urlencoded", text.join("&"))
    }

    pub(super) fn build(&self, client: &reqwest::Client) -> Option<reqwest::Request> {
        let mut builder = match self.method {
            Method::Get => client.get(&self.url),
            Method::Post => client.post(&self.url),
            Method::Put => client.put(&self.url),
            Method::Delete => client.delete(&self.url),
        };
        for (name, value) in &self.headers {
            builder = builder.header(name, value);
        }
        match &self.body {
            Some(body) => builder.body(body.clone()),
            // Some servers require a length even for an empty body.
            None if self.method != Method::Get => builder.header("Content-Length", "0"),
            None => builder,
        }
        .build()
        .ok()
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} [REDACTED]", self.method)
    }
}

/// Percent-encodes all but unreserved characters (RFC 3986), for paths, queries and forms.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_escaped_and_nothing_is_printed() {
        let request = Request::post("http://h/?key=hunter2").form(&[("a b", "x&y=%ü"), ("c", "")]);
        assert_eq!(request.body.as_deref(), Some(&b"a%20b=x%26y%3D%25%C3%BC&c="[..]));
        assert!(!format!("{request:?}").contains("hunter2"));
    }
}
