//! An explanation as one HTML page that needs nothing but itself: the message beside its Bundle, and each end of an
//! assignment lights the other.
//!
//! In comes an [`Explanation`], out goes the text of the page. It promises that everything from the message is escaped, and
//! that no script runs but the one it was written with, by the page's own policy; it refuses to load anything from elsewhere.
//! It holds patient data, as the message does.
//!
//! `message` writes the left side and `bundle` the right one; this file has the page around them, its lists and its script.

mod bundle;
mod message;

use serde_json::json;
use sha2::{Digest, Sha256};

use super::report::{Explanation, Why};

static STYLE: &str = include_str!("page.css");
static SCRIPT: &str = include_str!("page.js");

/// Writes the page.
#[must_use]
pub fn write(explanation: &Explanation) -> String {
    let mut page = HtmlPage { out: String::with_capacity(256 * 1024), explanation };
    page.head();
    page.header();
    page.out.push_str("<main>\n");
    page.left();
    page.right();
    page.out.push_str("</main>\n");
    page.foot();
    page.out
}

struct HtmlPage<'e> {
    out: String,
    explanation: &'e Explanation,
}

impl HtmlPage<'_> {
    fn raw(&mut self, html: &str) {
        self.out.push_str(html);
    }

    fn text(&mut self, text: &str) {
        escape(text, &mut self.out);
    }

    /// An element with text in it.
    fn element(&mut self, tag: &str, class: &str, text: &str) {
        self.out.push_str(&format!("<{tag} class=\"{class}\">"));
        self.text(text);
        self.out.push_str(&format!("</{tag}>"));
    }

    fn title(&self) -> String {
        let event = &self.explanation.event;
        let control = &self.explanation.control_id;
        if control.is_empty() {
            format!("{} explained", event.code)
        } else {
            format!("{} {control} explained", event.code)
        }
    }

    fn head(&mut self) {
        let title = self.title();
        self.raw("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
        let policy = format!(
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; base-uri 'none'; \
             style-src 'sha256-{}'; script-src 'sha256-{}'\">\n",
            digest(STYLE),
            digest(SCRIPT)
        );
        self.raw(&policy);
        self.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
        self.raw(
            "<meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"referrer\" content=\"no-referrer\">\n",
        );
        self.element("title", "", &title);
        self.raw("\n<style>");
        self.raw(STYLE);
        self.raw("</style>\n</head>\n<body>\n");
    }

    fn header(&mut self) {
        let event = self.explanation.event.clone();
        self.raw("<header>\n<div class=\"what\"><span class=\"code\">");
        self.text(&event.code);
        self.raw("</span><h1>");
        self.text(if event.name.is_empty() { "Message" } else { &event.name });
        self.raw("</h1></div>\n<dl class=\"facts\">");
        let plan = self.explanation.plan.clone();
        let control = self.explanation.control_id.clone();
        for (name, value) in [("control id", control), ("FHIR event", event.fhir), ("set", event.set), ("plan", plan)] {
            if !value.is_empty() {
                self.raw("<div>");
                self.element("dt", "", name);
                self.element("dd", "", &value);
                self.raw("</div>");
            }
        }
        self.raw("</dl>\n<ul class=\"sum\">");
        self.sum();
        self.raw("</ul>\n</header>\n");
        if let Some(fault) = self.explanation.fault.clone() {
            self.raw("<p class=\"fault\" role=\"alert\"><strong>Not mapped.</strong> ");
            self.text(&fault);
            self.raw("</p>\n");
        }
    }

    fn sum(&mut self) {
        let explanation = self.explanation;
        let mapped = explanation.assignments.iter().filter(|a| !a.from.is_empty()).count();
        let lost = explanation.unmapped.iter().filter(|unmapped| unmapped.why.is_loss()).count();
        let counts = [
            ("ok", mapped, "elements from fields"),
            ("lost", lost, "values not mapped"),
            ("miss", explanation.missed.len(), "codes without a row"),
            ("null", explanation.nulls.len() + explanation.erased.len(), "erased"),
            ("warn", explanation.warnings.len() + explanation.strays.len(), "warnings"),
        ];
        for (class, count, name) in counts {
            if count > 0 || matches!(class, "ok" | "lost") {
                self.out.push_str(&format!("<li class=\"{class}\"><b>{count}</b> {name}</li>"));
            }
        }
    }

    fn left(&mut self) {
        self.raw("<section class=\"pane\" id=\"message\" aria-label=\"Message\">\n<div class=\"bar\"><h2>Message</h2>");
        self.raw("<span class=\"key\"><i class=\"m\">mapped</i><i class=\"u\">not mapped</i><i class=\"q\">needs no mapping</i></span>");
        if self.explanation.unmapped.iter().any(|unmapped| unmapped.why.is_loss()) {
            self.raw("<button type=\"button\" id=\"next\">Next not mapped <kbd>n</kbd></button>");
        }
        self.raw("</div>\n<div class=\"scroll\">\n");
        self.message();
        self.findings();
        self.raw("</div>\n</section>\n");
    }

    fn findings(&mut self) {
        let explanation = self.explanation;
        let lost = explanation.losses();
        let count = lost.iter().map(|loss| loss.count).sum();
        self.list("Not mapped", "lost", count, |page| {
            for loss in &lost {
                let from = &loss.first.from;
                let name = from.name.as_deref().unwrap_or_default();
                let (path, name, raw) = match loss.segment {
                    Some(segment) => (segment, "the whole segment", format!("{} values", loss.count)),
                    None => (&*from.path, name, from.raw.clone()),
                };
                page.finding(&format!("u{}", loss.number), path, name, &raw, &loss.first.text, &loss.first.rules);
            }
        });
        self.list("Codes without a row in their table", "miss", explanation.missed.len(), |page| {
            for missed in &explanation.missed {
                let (path, raw) = missed.from.as_ref().map_or(("", ""), |from| (&*from.path, &*from.raw));
                let at = missed.from.as_ref().map_or_else(String::new, |from| format!("o{}", from.start));
                let became = missed.became.first().map_or("went nowhere", String::as_str);
                let rules = [missed.rule.clone()];
                page.finding(&at, path, &format!("table {}", missed.table), raw, became, &rules);
            }
        });
        self.list("Erased", "null", explanation.nulls.len() + explanation.erased.len(), |page| page.erasures());
        self.list("Warnings", "warn", explanation.warnings.len() + explanation.strays.len(), |page| {
            for warning in &explanation.warnings {
                page.finding("", &warning.place, "", "", &warning.what, &[]);
            }
            for stray in &explanation.strays {
                page.finding("", "", "", &stray.raw, "a line is no segment and was not mapped", &[]);
            }
        });
    }

    fn erasures(&mut self) {
        let explanation = self.explanation;
        for null in &explanation.nulls {
            let name = null.from.name.as_deref().unwrap_or_default();
            let at = format!("o{}", null.from.start);
            if null.erased.is_empty() {
                self.finding(&at, &null.from.path, name, &null.from.raw, &null.text, &[]);
            }
            for erased in &null.erased {
                let text = format!("the receiver erases {}.{}", erased.to.resource, erased.to.path);
                self.finding(&at, &null.from.path, name, &null.from.raw, &text, std::slice::from_ref(&erased.rule));
            }
        }
        for erased in &explanation.erased {
            let text = format!("the event itself erases {}.{}", erased.to.resource, erased.to.path);
            self.finding("", "", "", "", &text, std::slice::from_ref(&erased.rule));
        }
    }

    fn list(&mut self, title: &str, class: &str, count: usize, items: impl FnOnce(&mut Self)) {
        if count == 0 {
            return;
        }
        self.out
            .push_str(&format!("<details class=\"list {class}\" open><summary>{title} <b>{count}</b></summary><ol>"));
        items(self);
        self.raw("</ol></details>\n");
    }

    fn finding(&mut self, at: &str, path: &str, name: &str, raw: &str, text: &str, rules: &[String]) {
        self.raw("<li>");
        if at.is_empty() {
            self.element("span", "path", path);
        } else {
            self.out.push_str(&format!("<button type=\"button\" class=\"path\" data-go=\"{at}\">"));
            self.text(path);
            self.raw("</button>");
        }
        self.element("span", "raw", raw);
        self.raw("<span class=\"why\">");
        self.text(text);
        for rule in rules {
            self.raw(" ");
            self.element("code", "", rule);
        }
        if !name.is_empty() {
            self.element("small", "", name);
        }
        self.raw("</span></li>");
    }

    fn right(&mut self) {
        self.raw("<section class=\"pane\" id=\"bundle\" aria-label=\"Bundle\">\n<div class=\"bar\"><h2>Bundle</h2>");
        self.raw("<span class=\"key\"><i class=\"m\">from a field</i><i class=\"c\">set by a rule</i><i class=\"x\">erased</i></span></div>\n");
        self.raw("<div class=\"scroll\">\n");
        self.bundle();
        self.raw("</div>\n</section>\n");
    }

    fn foot(&mut self) {
        self.raw("<footer id=\"detail\" aria-live=\"polite\"><p class=\"hint\">Point at a value on either side. \
                  Click keeps it lit; <kbd>\u{2190}</kbd> <kbd>\u{2192}</kbd> go from value to value, <kbd>Enter</kbd> to the other side, \
                  <kbd>n</kbd> to the next value that was not mapped, <kbd>Esc</kbd> lets go.</p></footer>\n");
        self.raw("<script type=\"application/json\" id=\"data\">");
        let data = self
            .data()
            .to_string()
            .replace('<', "\\u003c")
            .replace('\u{2028}', "\\u2028")
            .replace('\u{2029}', "\\u2029");
        self.raw(&data);
        self.raw("</script>\n<script>");
        self.raw(SCRIPT);
        self.raw("</script>\n</body>\n</html>\n");
    }

    /// What the script shows of each assignment and of each value that was not mapped.
    fn data(&self) -> serde_json::Value {
        let explanation = self.explanation;
        let origin = |origin: &super::report::Origin| json!([visible(&origin.path), origin.name, visible(&origin.raw)]);
        let assignments = explanation.assignments.iter().map(|a| {
            json!({
                "from": a.from.iter().map(origin).collect::<Vec<_>>(),
                "to": format!("{}.{}", a.to.resource, a.to.path),
                "in": a.to.contained,
                "value": visible(&a.to.value),
                "rules": a.via.iter().chain((!a.rule.is_empty()).then_some(&a.rule)).collect::<Vec<_>>(),
                "kind": a.kind,
            })
        });
        let unmapped = explanation
            .unmapped
            .iter()
            .map(|u| json!({ "from": origin(&u.from), "why": u.text, "rules": u.rules, "loss": u.why.is_loss() }));
        json!({ "assignments": assignments.collect::<Vec<_>>(), "unmapped": unmapped.collect::<Vec<_>>() })
    }
}

/// Whether a value carries no information that could be lost.
fn is_quiet(why: Why) -> bool {
    !why.is_loss()
}

/// Writes text as HTML, also inside an attribute's quotes.
fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(seen(c)),
        }
    }
}

fn visible(text: &str) -> String {
    text.chars().map(seen).collect()
}

/// A character as a page may show it: control characters and those that turn the direction of writing as a sign.
fn seen(c: char) -> char {
    match c {
        '\n' | '\r' => '\u{23ce}',
        '\t' => ' ',
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        c if c.is_control() => '\u{b7}',
        c => c,
    }
}

/// SHA-256 in base64, as a content security policy names what it allows.
fn digest(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digest = Sha256::digest(text.as_bytes());
    let mut out = String::with_capacity(44);
    for chunk in digest.chunks(3) {
        let group = [0, 1, 2].map(|n| chunk.get(n).copied().unwrap_or(0));
        let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for n in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * n)) as usize & 63];
            out.push(if n <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::{Context, Identifiers, MappingConfig, Plan, explain};

    fn page(name: &str) -> String {
        let plan = Plan::load(&MappingConfig::default(), &Identifiers::default()).unwrap();
        let raw = format!(
            "MSH|^~\\&|APP|FAC|||20240101120000+0100||ADT^A01|42|P|2.5\rPID|1||7^^^H^MR||{name}^Jane||19800101\r\
             PV1|1|I|||||||||||||||||V1\rZZZ|{name}"
        );
        write(&explain(&plan, raw.as_bytes(), &Context::default()))
    }

    #[test]
    fn what_a_sender_wrote_is_text_and_nothing_else() {
        let page = page("</script><script>alert(1)</script><img src=x onerror='x'>\"'");
        assert!(page.contains("&lt;/script&gt;"));
        assert!(!page.contains("<img") && !page.contains("alert(1)</"));
        assert_eq!(page.matches("</script>").count(), 2);
    }

    #[test]
    fn the_policy_names_the_script_and_the_style_by_their_digest() {
        assert_eq!(digest(""), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
        let page = page("Doe");
        assert!(page.contains(&format!("script-src 'sha256-{}'", digest(SCRIPT))));
        assert!(!page.contains("http://fonts") && !page.contains("<link") && !page.contains(" style="));
    }

    #[test]
    fn both_ends_of_an_assignment_carry_its_number() {
        let page = page("Doe");
        let at = page.find(">Doe</span>").unwrap();
        let span = &page[page[..at].rfind('<').unwrap()..at];
        let number = span.split("data-a=\"").nth(1).unwrap().split(['"', ' ']).next().unwrap();
        let other = page.find(">&quot;Doe&quot;</span>").unwrap();
        let span = &page[page[..other].rfind('<').unwrap()..other];
        assert!(span.contains(&format!("data-a=\"{number}")), "{span}");
    }

    #[test]
    fn a_message_that_was_not_mapped_is_shown_all_the_same() {
        let plan = Plan::load(&MappingConfig::default(), &Identifiers::default()).unwrap();
        let page = write(&explain(&plan, b"MSH|^~\\&|A|B|||20240101||ADT^A99|1|P|2.5", &Context::default()));
        assert!(page.contains("role=\"alert\"") && page.contains("A99"));
    }
}
