//! An explanation as text in columns.

use unicode_width::UnicodeWidthStr;

use crate::cli::terminal::columns::{Screen, ends, head, pad, plain, wrap};
use crate::mapping::Explanation;
use crate::mapping::explain::{Assignment, AssignmentKind, Element, Missed, Origin, Unmapped, Why};
use crate::v2::header::NULL;

/// The columns: the field, its value, the element (what is left), the rule.
const FROM: usize = 14;
const VALUE: usize = 24;
const RULE: usize = 26;
/// The name of a field that was not mapped.
const NAME: usize = 30;

pub(super) fn write(explanation: &Explanation, width: usize, coloured: bool) -> String {
    let mut page = Screen::new(width, coloured);
    page.head(explanation);
    if explanation.fault.is_none() {
        page.mapped(explanation);
        page.stated(explanation);
        page.unmapped(explanation);
        page.missed(&explanation.missed);
        page.nulls(explanation);
        page.warnings(explanation);
        page.sum(explanation);
    }
    page.out
}

impl Screen {
    fn head(&mut self, explanation: &Explanation) {
        let event = &explanation.event;
        let name = self.styled("1", &head(&format!("{} {}", event.code, event.name), self.width));
        self.line(&name);
        let control = if explanation.control_id.is_empty() { "none" } else { &explanation.control_id };
        let mut facts = format!("control id {}, plan {}", head(control, 40), explanation.plan);
        if let Some(fault) = &explanation.fault {
            self.line(&facts);
            let fault = self.styled("31", &format!("not mapped: {fault}"));
            self.line(&fault);
            return;
        }
        facts.push_str(&format!(", set {} as {}", event.set, event.fhir));
        self.line(&facts);
        let resources = explanation.resources.iter().map(|(name, count)| match count {
            1 => name.clone(),
            n => format!("{n} {name}"),
        });
        let resources: Vec<_> = resources.collect();
        for line in wrap(&format!("becomes {}", resources.join(", ")), self.width) {
            self.line(&line);
        }
    }

    fn mapped(&mut self, explanation: &Explanation) {
        self.title("What went where");
        let rows: Vec<ExplainRow> = rows(&explanation.assignments, explanation);
        let mut segment = String::new();
        let mut last: Option<(&str, String)> = None;
        for row in &rows {
            if row.segment != segment {
                segment.clone_from(&row.segment);
                let name = self.styled("1", &segment);
                self.line(&format!("  {name}"));
                last = None;
            }
            let here = (row.from.as_str(), row.raw.clone());
            let (from, raw) =
                if last.as_ref() == Some(&here) { ("", "") } else { (row.from.as_str(), row.raw.as_str()) };
            self.row(from, raw, &row.to, &row.given, &row.rule);
            last = Some(here);
        }
    }

    /// From, value, element and what it holds, rule. What does not fit beside the element stands below it.
    fn row(&mut self, from: &str, value: &str, to: &str, given: &str, rule: &str) {
        let first = format!("    {} {} ", cell(from, FROM), cell(value, VALUE));
        self.to(&first, to, given, rule);
    }

    fn to(&mut self, first: &str, to: &str, given: &str, rule: &str) {
        let width = self.width.saturating_sub(first.width() + RULE + 1);
        let rule = self.styled("2", &ends(rule, RULE));
        let short = if given.is_empty() { to.to_owned() } else { format!("{to} = {}", plain(given)) };
        if short.width() <= width {
            self.line(&format!("{first}{} {rule}", pad(&short, width)));
            return;
        }
        self.line(&format!("{first}{} {rule}", pad(&ends(to, width), width)));
        if !given.is_empty() {
            let indent = " ".repeat(first.width() + 2);
            let given = head(given, self.width.saturating_sub(indent.len() + 2));
            self.line(&format!("{indent}= {given}"));
        }
    }

    fn stated(&mut self, explanation: &Explanation) {
        let stated = || explanation.assignments.iter().filter(|a| a.from.is_empty());
        let rows = collapse(stated().filter(|a| a.kind != AssignmentKind::Reference), explanation);
        if rows.is_empty() {
            return;
        }
        self.title("Set without a field");
        for row in rows {
            self.to("    ", &row.to, &row.given, &row.rule);
        }
        let references = stated().filter(|a| a.kind == AssignmentKind::Reference).count();
        if references > 0 {
            let text = self.styled("2", &format!("(and {references} references between the resources)"));
            self.line(&format!("    {text}"));
        }
    }

    fn unmapped(&mut self, explanation: &Explanation) {
        self.title("Not mapped");
        let lost = explanation.losses();
        if lost.is_empty() {
            self.line("    nothing: every field with a value is in the Bundle");
        }
        for loss in lost {
            let from = &loss.first.from;
            let name = from.name.as_deref().unwrap_or_default();
            match loss.segment {
                Some(segment) => {
                    self.unmapped_row(segment, &format!("{} values", loss.count), "the whole segment", loss.first);
                }
                None => self.unmapped_row(&from.path, &from.raw, name, loss.first),
            }
        }
        self.quiet(explanation);
    }

    fn unmapped_row(&mut self, from: &str, value: &str, name: &str, unmapped: &Unmapped) {
        let rule = unmapped.rules.first().map(|rule| format!(" ({})", short(rule))).unwrap_or_default();
        let first = format!("    {} {} {} ", cell(from, FROM), cell(value, VALUE), cell(name, NAME));
        let why = plain(&format!("{}{rule}", unmapped.text));
        let indent = " ".repeat(first.width());
        for (n, line) in wrap(&why, self.width.saturating_sub(first.width())).iter().enumerate() {
            self.line(&format!("{}{line}", if n == 0 { &first } else { &indent }));
        }
    }

    /// What is left out of the list on purpose.
    fn quiet(&mut self, explanation: &Explanation) {
        for (why, title) in [
            (Why::Protocol, "read by Stoker itself"),
            (Why::SetId, "numbers of segments"),
            (Why::TestedOnly, "asked for by conditions only"),
        ] {
            let paths = explanation.unmapped.iter().filter(|u| u.why == why).map(|u| u.from.path.as_str());
            let paths: Vec<_> = paths.collect();
            if !paths.is_empty() {
                for line in wrap(&format!("({title}: {})", paths.join(" ")), self.width - 4) {
                    let line = self.styled("2", &line);
                    self.line(&format!("    {line}"));
                }
            }
        }
    }

    fn missed(&mut self, missed: &[Missed]) {
        if missed.is_empty() {
            return;
        }
        self.title("Codes without a row in their table");
        for code in missed {
            let (from, raw) = code.from.as_ref().map_or(("", ""), |from| (from.path.as_str(), from.raw.as_str()));
            let became = code.became.first().map_or("went nowhere", String::as_str);
            self.row(from, raw, &format!("{}: {became}", code.table), "", &short(&code.rule));
        }
    }

    fn nulls(&mut self, explanation: &Explanation) {
        if explanation.nulls.is_empty() && explanation.erased.is_empty() {
            return;
        }
        self.title("Erased");
        for null in &explanation.nulls {
            if null.erased.is_empty() {
                let first = format!("    {} {} ", cell(&null.from.path, FROM), cell(NULL, VALUE));
                self.line(&format!("{first}{}", plain(&null.text)));
            }
            for erased in &null.erased {
                self.row(&null.from.path, NULL, &name(&erased.to, explanation), "", &short(&erased.rule));
            }
        }
        for erased in &explanation.erased {
            self.row("", "the event says so", &name(&erased.to, explanation), "", &short(&erased.rule));
        }
    }

    fn warnings(&mut self, explanation: &Explanation) {
        if explanation.warnings.is_empty() && explanation.strays.is_empty() {
            return;
        }
        self.title("Warnings");
        for warning in &explanation.warnings {
            self.line(&format!("    {warning}"));
        }
        for stray in &explanation.strays {
            let line = format!("    a line is no segment: {}", head(&stray.raw, 60));
            self.line(&line);
        }
    }

    fn sum(&mut self, explanation: &Explanation) {
        let from_fields = || explanation.assignments.iter().filter(|a| !a.from.is_empty());
        let mut mapped: Vec<(usize, usize)> =
            from_fields().flat_map(|a| &a.from).map(|from| (from.start, from.end)).collect();
        mapped.sort_unstable();
        mapped.dedup();
        let lost = explanation.unmapped.iter().filter(|u| u.why.is_loss()).count();
        let text = format!(
            "{} values in {} elements, {lost} not mapped, {} codes without a row",
            mapped.len(),
            from_fields().count(),
            explanation.missed.len()
        );
        self.title(&text);
    }
}

/// A line of the first table.
struct ExplainRow {
    segment: String,
    from: String,
    raw: String,
    to: String,
    /// What the element holds, where that is not what was sent.
    given: String,
    rule: String,
}

fn rows(assignments: &[Assignment], explanation: &Explanation) -> Vec<ExplainRow> {
    let chain = |a: &&Assignment| a.kind == AssignmentKind::Reference && a.to.path.ends_with("partOf.reference");
    collapse(assignments.iter().filter(|a| !a.from.is_empty() && !chain(a)), explanation)
}

/// One row for the members of a coding that come from one place.
fn collapse<'e>(assignments: impl Iterator<Item = &'e Assignment>, explanation: &Explanation) -> Vec<ExplainRow> {
    let list: Vec<&Assignment> = assignments.collect();
    let of_coding = |a: &Assignment| matches!(last(&a.to.path), "code" | "display" | "system");
    let together = |one: &&Assignment, other: &&Assignment| {
        let one_coding = of_coding(one) && of_coding(other) && parent(&one.to.pointer) == parent(&other.to.pointer);
        one.from == other.from && (one_coding || one.to.pointer == other.to.pointer)
    };
    list.chunk_by(|one, other| together(one, other)).map(|group| row(group, explanation)).collect()
}

fn row(group: &[&Assignment], explanation: &Explanation) -> ExplainRow {
    let first = group[0];
    let member = |name: &str| group.iter().find(|a| last(&a.to.path) == name).map(|a| a.to.value.as_str());
    let (to, given) = match (member("code"), member("display").or(member("system"))) {
        (Some(code), Some(_)) => {
            let display = member("display").map(|display| format!(" {display}")).unwrap_or_default();
            (name_at(&first.to, above(&first.to.path), explanation), format!("{code}{display}"))
        }
        _ => {
            let same = matches!(&first.from[..], [from] if from.raw == first.to.value);
            (name(&first.to, explanation), if same { String::new() } else { first.to.value.clone() })
        }
    };
    ExplainRow {
        segment: first.from.first().map(|from| segment_of(&from.path).to_owned()).unwrap_or_default(),
        from: places(&first.from),
        raw: first.from.iter().map(|from| from.raw.as_str()).collect::<Vec<_>>().join(" "),
        to,
        given,
        rule: rule_of(first),
    }
}

fn rule_of(assignment: &Assignment) -> String {
    match assignment.via.first() {
        _ if assignment.kind == AssignmentKind::Envelope => "Stoker itself".into(),
        None => short(&assignment.rule),
        Some(via) => format!("{} {}", short(via), short(&assignment.rule)),
    }
}

/// `resources/patient.toml:21` as `patient:21`; of a site's own file its folder too, `site/patient:21`.
fn short(rule: &str) -> String {
    let (folder, file) = rule.rsplit_once('/').unwrap_or(("", rule));
    let file = file.replacen(".toml", "", 1);
    let folder = folder.strip_suffix("resources").unwrap_or(folder).trim_end_matches('/');
    match folder.rsplit('/').next() {
        None | Some("") => file,
        Some(site) => format!("{site}/{file}"),
    }
}

/// The paths of several places, what they share said once: `PID-13.5 .6 .7`.
fn places(from: &[Origin]) -> String {
    let mut text = String::new();
    let mut stem = "";
    for (n, origin) in from.iter().enumerate() {
        let at = origin.path.find('-').and_then(|dash| origin.path[dash..].find('.').map(|dot| dash + dot));
        let (own, rest) = at.map_or((origin.path.as_str(), ""), |at| origin.path.split_at(at));
        text.push_str(if n == 0 { "" } else { " " });
        text.push_str(if own == stem && !rest.is_empty() { rest } else { origin.path.as_str() });
        stem = own;
    }
    text
}

/// An element with its resource, numbered where there are several of the type.
fn name(element: &Element, explanation: &Explanation) -> String {
    name_at(element, &element.path, explanation)
}

fn name_at(element: &Element, path: &str, explanation: &Explanation) -> String {
    let several = explanation.resources.iter().any(|(name, count)| *name == element.resource && *count > 1);
    let first =
        explanation.resources.iter().take_while(|(name, _)| *name != element.resource).map(|(_, n)| n).sum::<usize>();
    match element.entry {
        Some(entry) if several && entry >= first => format!("{}#{}.{path}", element.resource, entry - first + 1),
        _ => format!("{}.{path}", element.resource),
    }
}

fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

fn above(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(above, _)| above)
}

fn cell(text: &str, width: usize) -> String {
    pad(&head(text, width), width)
}

fn parent(pointer: &str) -> &str {
    pointer.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn segment_of(path: &str) -> &str {
    path.split_once('-').map_or(path, |(segment, _)| segment)
}
