//! What rules read as `$name`: the arguments of a template, and what Stoker knows of the message as a whole.

/// The value of a variable.
#[derive(Debug, Clone, Copy)]
pub enum VariableValue<'a> {
    /// A constant of the mapping files: does not count as content.
    Fixed(&'a str),
    /// From the message.
    Data(&'a str),
}

/// What every rule can read.
pub const GLOBALS: &[&str] = &[
    "event",
    "status",
    "fhirEvent",
    "fhirEventSystem",
    "visitSystem",
    "timestamp",
    "messageId",
    "destination",
    "source",
    "base",
    "absorbed",
    "patient",
];

/// What is known of a message before its rules are walked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Globals<'a> {
    pub event: &'a str,
    pub status: Option<&'a str>,
    pub fhir_event: &'a str,
    pub fhir_event_system: &'a str,
    pub visit_system: &'a str,
    pub message_id: &'a str,
    pub timestamp: Option<&'a str>,
    pub destination: Option<&'a str>,
    pub source: Option<&'a str>,
    pub base: &'a str,
    pub absorbed: Option<&'a str>,
}

impl<'a> Globals<'a> {
    pub fn get(&self, name: &str) -> Option<VariableValue<'a>> {
        let data = |text: &'a str| (!text.is_empty()).then_some(VariableValue::Data(text));
        match name {
            "event" => Some(VariableValue::Data(self.event)),
            "status" => self.status.map(VariableValue::Data),
            "fhirEvent" => Some(VariableValue::Data(self.fhir_event)),
            "fhirEventSystem" => Some(VariableValue::Fixed(self.fhir_event_system)),
            "visitSystem" => data(self.visit_system),
            "timestamp" => self.timestamp.and_then(data),
            "messageId" => data(self.message_id),
            "destination" => self.destination.map(VariableValue::Data),
            "source" => self.source.map(VariableValue::Data),
            "base" => Some(VariableValue::Fixed(self.base)),
            "absorbed" => self.absorbed.map(VariableValue::Data),
            _ => None,
        }
    }

    /// Whether [`get`](Self::get) would give something.
    pub fn has(&self, name: &str) -> bool {
        match name {
            "event" | "fhirEvent" | "fhirEventSystem" | "base" => true,
            "status" => self.status.is_some(),
            "visitSystem" => !self.visit_system.is_empty(),
            "timestamp" => self.timestamp.is_some_and(|text| !text.is_empty()),
            "messageId" => !self.message_id.is_empty(),
            "destination" => self.destination.is_some(),
            "source" => self.source.is_some(),
            "absorbed" => self.absorbed.is_some(),
            _ => false,
        }
    }
}
