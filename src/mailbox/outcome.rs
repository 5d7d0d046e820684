//! OperationOutcome: what went wrong, or what was done, in FHIR's words.

use serde_json::{Value, json};

use super::canonical::write_string;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Fatal,
    Error,
    Warning,
    Information,
}

impl Severity {
    fn code(self) -> &'static str {
        match self {
            Self::Fatal => "fatal",
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Information => "information",
        }
    }
}

/// One issue. The text holds no patient data: ids of the mailbox's own making, element paths, remedies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    pub severity: Severity,
    /// A code of `http://hl7.org/fhir/issue-type`.
    pub code: &'static str,
    pub text: String,
    /// FHIRPath of the element that it is about.
    pub expression: Option<String>,
}

impl Issue {
    #[must_use]
    pub fn new(severity: Severity, code: &'static str, text: impl Into<String>) -> Self {
        Self { severity, code, text: text.into(), expression: None }
    }

    #[must_use]
    pub fn error(code: &'static str, text: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, text)
    }

    #[must_use]
    pub fn warning(code: &'static str, text: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, text)
    }

    #[must_use]
    pub fn information(text: impl Into<String>) -> Self {
        Self::new(Severity::Information, "informational", text)
    }

    #[must_use]
    pub fn at(mut self, expression: impl Into<String>) -> Self {
        self.expression = Some(expression.into());
        self
    }

    fn json(&self) -> Value {
        let mut issue = json!({"severity": self.severity.code(), "code": self.code, "diagnostics": self.text});
        if let Some(expression) = &self.expression {
            issue["expression"] = json!([expression]);
        }
        issue
    }
}

/// Issues as they come up: the first of each severity, and of the others how many there are. A message may be about any
/// number of resources; its answer is kept, and read by somebody.
#[derive(Debug, Default)]
pub struct Issues {
    told: Vec<Issue>,
    /// By severity.
    counts: [usize; 4],
}

impl Issues {
    /// Issues of one severity that are told in full.
    pub const MOST: usize = 100;

    pub fn push(&mut self, issue: Issue) {
        let count = &mut self.counts[issue.severity as usize];
        *count += 1;
        if *count <= Self::MOST {
            self.told.push(issue);
        }
    }

    #[must_use]
    pub fn told(mut self) -> Vec<Issue> {
        for severity in [Severity::Fatal, Severity::Error, Severity::Warning, Severity::Information] {
            let more = self.counts[severity as usize].saturating_sub(Self::MOST);
            if more > 0 {
                self.told.push(Issue::information(format!("and {more} more of severity {}", severity.code())));
            }
        }
        self.told
    }
}

impl From<Issue> for Vec<Issue> {
    fn from(issue: Issue) -> Self {
        vec![issue]
    }
}

/// The issues of an OperationOutcome as JSON text, the elements in the order of [`super::canonical`].
#[must_use]
pub fn issues_text(issues: &[Issue]) -> String {
    let nothing = [Issue::information("nothing to report")];
    let issues = if issues.is_empty() { &nothing } else { issues };
    let mut out = String::with_capacity(128 * issues.len());
    for issue in issues {
        out.push_str(if out.is_empty() { "[{" } else { ",{" });
        let expression = issue.expression.as_deref().map(|place| ("expression\":[", place, "]"));
        let members = [("code\":", issue.code, ""), ("diagnostics\":", &issue.text, "")].into_iter().chain(expression);
        for (name, text, end) in members.chain([("severity\":", issue.severity.code(), "")]) {
            out.push_str(if out.ends_with('{') { "\"" } else { ",\"" });
            out.push_str(name);
            write_string(&mut out, text);
            out.push_str(end);
        }
        out.push('}');
    }
    out.push(']');
    out
}

/// The OperationOutcome that holds `issues`; R4 wants at least one.
#[must_use]
pub fn operation_outcome(issues: &[Issue]) -> Value {
    let mut list: Vec<Value> = issues.iter().map(Issue::json).collect();
    if list.is_empty() {
        list.push(Issue::information("nothing to report").json());
    }
    json!({"resourceType": "OperationOutcome", "issue": list})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issues_are_the_same_as_text_and_as_json() {
        let two = [Issue::error("value", "say \"why\"").at("Bundle.entry[0]"), Issue::information("x")];
        for issues in [&two[..], &two[1..], &[]] {
            let read: Value = serde_json::from_str(&issues_text(issues)).unwrap();
            assert_eq!(read, operation_outcome(issues)["issue"]);
        }
    }
}
