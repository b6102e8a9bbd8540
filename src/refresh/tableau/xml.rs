//! XML as plain trees: what is sent and what has come.

use std::io;

use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesEnd, BytesRef, BytesStart, BytesText, Event};
use quick_xml::{Reader, Writer, XmlVersion};

/// The deepest nesting that is read.
const DEEPEST: usize = 32;

/// An element with its attributes, its children, and the text between them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) name: String,
    attributes: Vec<(String, String)>,
    children: Vec<Element>,
    text: String,
}

impl Element {
    /// An element without anything in it.
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// With an attribute.
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.attributes.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn and(mut self, child: Self) -> Self {
        self.children.push(child);
        self
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The first child of this name.
    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    pub(super) fn children<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// All children.
    pub(super) fn all(&self) -> impl Iterator<Item = &Self> {
        self.children.iter()
    }

    /// The text, without the blanks around it.
    pub(super) fn text(&self) -> &str {
        self.text.trim()
    }

    /// The document; its root is never written as an empty tag.
    ///
    /// # Errors
    /// None that memory does not know.
    pub(super) fn document(&self) -> io::Result<Vec<u8>> {
        let mut writer = Writer::new(Vec::new());
        self.write(&mut writer, true)?;
        Ok(writer.into_inner())
    }

    fn write(&self, writer: &mut Writer<Vec<u8>>, root: bool) -> io::Result<()> {
        let mut tag = BytesStart::new(self.name.as_str());
        for (name, value) in &self.attributes {
            tag.push_attribute((name.as_str(), value.as_str()));
        }
        if !root && self.children.is_empty() && self.text.is_empty() {
            return writer.write_event(Event::Empty(tag));
        }
        writer.write_event(Event::Start(tag))?;
        writer.write_event(Event::Text(BytesText::new(&self.text)))?;
        self.children.iter().try_for_each(|child| child.write(writer, false))?;
        writer.write_event(Event::End(BytesEnd::new(self.name.as_str())))
    }
}

/// The root of a document; none where the bytes are no well-formed XML.
pub(super) fn parse(bytes: &[u8]) -> Option<Element> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut reader = Reader::from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    let mut open: Vec<Element> = Vec::new();
    loop {
        let done = match reader.read_event().ok()? {
            Event::Start(_) if open.len() == DEEPEST => return None,
            Event::Start(tag) => {
                open.push(element(&tag));
                continue;
            }
            Event::Empty(tag) => element(&tag),
            Event::End(_) => open.pop()?,
            Event::Eof => return None,
            other => {
                if let (Some(element), Some(text)) = (open.last_mut(), characters(&other)) {
                    element.text.push_str(&text);
                }
                continue;
            }
        };
        match open.last_mut() {
            Some(parent) => parent.children.push(done),
            None => return Some(done),
        }
    }
}

/// A tag's name and attributes, prefixes left out; an attribute that is nonsense is left out, too.
fn element(tag: &BytesStart<'_>) -> Element {
    let local = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    let attributes = tag.attributes().flatten().filter_map(|attribute| {
        let value = attribute.normalized_value(XmlVersion::Implicit1_0).ok()?.into_owned();
        Some((local(attribute.key.local_name().as_ref()), value))
    });
    let attributes = attributes.collect();
    Element { name: local(tag.local_name().as_ref()), attributes, ..Element::default() }
}

/// What an event adds to an element's text.
fn characters(event: &Event<'_>) -> Option<String> {
    match event {
        Event::Text(text) => text.decode().ok().map(Into::into),
        Event::CData(text) => text.decode().ok().map(Into::into),
        Event::GeneralRef(reference) => resolved(reference),
        _ => None,
    }
}

/// The character that a reference stands for; none for an entity that a document has made up.
fn resolved(reference: &BytesRef<'_>) -> Option<String> {
    if let Some(character) = reference.resolve_char_ref().ok()? {
        return Some(character.into());
    }
    resolve_xml_entity(&reference.decode().ok()?).map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(element: &Element) -> String {
        String::from_utf8(element.document().expect("memory")).expect("UTF-8")
    }

    #[test]
    fn a_tree_is_written_and_read_back() {
        let root = Element::new("tsRequest");
        assert_eq!(written(&root), "<tsRequest></tsRequest>");
        let odd = "a \"quoted\" <name> & 'more'";
        let site = Element::new("site").with("contentUrl", "");
        let tree = root.and(Element::new("credentials").with("name", odd).and(site));
        let text = written(&tree);
        assert!(text.contains("<site contentUrl=\"\"/>"), "{text}");
        assert_eq!(parse(text.as_bytes()), Some(tree));
    }

    #[test]
    fn prefixes_and_declarations_do_not_matter() {
        let text = "\u{feff}<?xml version='1.0'?><!-- hello --><t:tsResponse xmlns:t='http://tableau.com/api'>\
                    <t:job t:id='7'><notes>a &lt;b&gt; &#65;<![CDATA[<c>]]></notes></t:job></t:tsResponse>\n";
        let root = parse(text.as_bytes()).expect("XML");
        assert_eq!(root.name, "tsResponse");
        let job = root.child("job").expect("a job");
        assert_eq!(job.attribute("id"), Some("7"));
        assert_eq!(job.child("notes").map(Element::text), Some("a <b> A<c>"));
    }

    #[test]
    fn entities_of_a_document_are_never_expanded() {
        let text = "<!DOCTYPE r [<!ENTITY a 'xxxxxxxxxx'><!ENTITY b '&a;&a;&a;&a;'>\
                    <!ENTITY f SYSTEM 'file:///etc/passwd'>]>\
                    <r id='&b;' site='s'><n>before&b;&f;after</n></r>";
        let root = parse(text.as_bytes()).expect("XML");
        assert_eq!(root.attribute("id"), None);
        assert_eq!(root.attribute("site"), Some("s"));
        assert_eq!(root.child("n").map(Element::text), Some("beforeafter"));
    }

    #[test]
    fn what_is_no_document_is_none() {
        let deep = format!("{}{}", "<a>".repeat(DEEPEST + 1), "</a>".repeat(DEEPEST + 1));
        let texts = [
            "",
            "{\"error\":{}}",
            "<a>",
            "<a></b>",
            "<!DOCTYPE html><html><br></html>",
            "plain",
            &deep,
        ];
        for text in texts {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse(b"<a b='\xff'/>"), None);
    }
}
