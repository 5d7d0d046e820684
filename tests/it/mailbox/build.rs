//! Message Bundles as an engine sends them: conditional fullUrls, references by the same strings.

use serde_json::{Value, json};
use uuid::Uuid;

pub const NULL: &str = "http://hl7.org/fhir/StructureDefinition/data-absent-reason";

/// What HL7 v2 writes as `""`.
pub fn erased() -> Value {
    json!({"extension": [{"url": NULL, "valueCode": "unknown"}]})
}

pub fn patient_url(number: &str) -> String {
    format!("http://engine.example.org/fhir/Patient?identifier=urn%3Amrn%7C{number}")
}

pub fn visit_url(number: &str) -> String {
    format!("http://engine.example.org/fhir/Encounter?identifier=urn%3Avisit%7C{number}")
}

/// The UUID that every run gives to the same name.
pub fn uuid(name: &str) -> String {
    Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()).to_string()
}

#[derive(Debug, Clone)]
pub struct MessageBuilder {
    pub id: String,
    pub bundle_id: String,
    pub header: Value,
    pub time: String,
    pub entries: Vec<Value>,
}

/// A message of one v2 trigger; its FHIR event is `event`. Its ids are new each time.
pub fn message(event: &str, trigger: &str) -> MessageBuilder {
    let header = json!({
        "resourceType": "MessageHeader",
        "meta": {"tag": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0003", "code": trigger}]},
        "eventCoding": {"system": "http://terminology.hl7.org/CodeSystem/message-events", "code": event},
        "source": {"endpoint": "urn:hospital:his", "name": "HIS"},
        "destination": [{"endpoint": "urn:mailbox:one"}],
    });
    let (id, bundle_id) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
    MessageBuilder { id, bundle_id, header, time: "2024-05-01T10:00:00Z".into(), entries: Vec::new() }
}

pub fn admin(trigger: &str) -> MessageBuilder {
    message("admin-notify", trigger)
}

pub fn clinical(trigger: &str) -> MessageBuilder {
    message("clinical-notify", trigger)
}

/// A40: `absorbed` into `survivor`.
pub fn merge(survivor: &str, absorbed: &str) -> MessageBuilder {
    message("patient-link", "A40").merge(survivor, absorbed)
}

/// A37.
pub fn unlink(one: &str, other: &str) -> MessageBuilder {
    message("patient-unlink", "A37").patient(one, json!({})).patient(other, json!({}))
}

impl MessageBuilder {
    /// Minutes after 10:00, so that tests can say "later" by a small number.
    pub fn minute(mut self, minute: u32) -> Self {
        self.time = format!("2024-05-01T{:02}:{:02}:00Z", 10 + minute / 60, minute % 60);
        self
    }

    pub fn entry(mut self, full_url: &str, resource: Value) -> Self {
        self.entries.push(json!({"fullUrl": full_url, "resource": resource}));
        self
    }

    /// A Patient found by a number that it also carries; `more` is added to it.
    pub fn patient(self, number: &str, more: Value) -> Self {
        self.renumbered_patient(number, number, more)
    }

    pub fn renumbered_patient(self, old: &str, new: &str, more: Value) -> Self {
        let resource = json!({"resourceType": "Patient", "identifier": [{"system": "urn:mrn", "value": new}]});
        self.entry(&patient_url(old), with(resource, more))
    }

    /// A visit found by a number that it also carries, of the patient with the number given.
    pub fn visit(self, number: &str, patient: &str, more: Value) -> Self {
        self.renumbered_visit(number, number, patient, more)
    }

    pub fn renumbered_visit(self, old: &str, new: &str, patient: &str, more: Value) -> Self {
        let resource = json!({
            "resourceType": "Encounter",
            "identifier": [{"system": "urn:visit", "value": new}],
            "status": "in-progress",
            "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"},
            "subject": {"reference": patient_url(patient)},
        });
        self.entry(&visit_url(old), with(resource, more))
    }

    pub fn condition(self, visit: &str, patient: &str, code: &str) -> Self {
        let id = uuid(&format!("Condition {visit} {code}"));
        let resource = json!({
            "resourceType": "Condition",
            "id": id,
            "clinicalStatus": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}]},
            "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10", "code": code}]},
            "subject": {"reference": patient_url(patient)},
            "encounter": {"reference": visit_url(visit)},
        });
        self.entry(&format!("urn:uuid:{id}"), resource)
    }

    pub fn procedure(self, visit: &str, patient: &str, code: &str) -> Self {
        let id = uuid(&format!("Procedure {visit} {code}"));
        let resource = json!({
            "resourceType": "Procedure",
            "id": id,
            "status": "completed",
            "code": {"text": code},
            "subject": {"reference": patient_url(patient)},
            "encounter": {"reference": visit_url(visit)},
        });
        self.entry(&format!("urn:uuid:{id}"), resource)
    }

    pub fn allergy(self, visit: &str, patient: &str, code: &str) -> Self {
        let id = uuid(&format!("AllergyIntolerance {patient} {code}"));
        let resource = json!({
            "resourceType": "AllergyIntolerance",
            "id": id,
            "clinicalStatus": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical", "code": "active"}]},
            "code": {"text": code},
            "patient": {"reference": patient_url(patient)},
            "encounter": {"reference": visit_url(visit)},
        });
        self.entry(&format!("urn:uuid:{id}"), resource)
    }

    /// One pair of a merge: what A40's PID and MRG become.
    pub fn merge(self, survivor: &str, absorbed: &str) -> Self {
        let link = |other: &str, kind: &str| json!([{"other": {"reference": patient_url(other)}, "type": kind}]);
        let replaced = json!({"active": false, "link": link(survivor, "replaced-by")});
        self.patient(survivor, json!({"link": link(absorbed, "replaces")})).patient(absorbed, replaced)
    }

    pub fn json(&self) -> Value {
        let mut header = self.header.clone();
        header["id"] = json!(self.id);
        let mut entries = vec![json!({"fullUrl": format!("urn:uuid:{}", self.id), "resource": header})];
        entries.extend(self.entries.clone());
        json!({
            "resourceType": "Bundle",
            "id": self.bundle_id,
            "type": "message",
            "timestamp": self.time,
            "entry": entries,
        })
    }
}

/// `base` with the members of `more`; null removes one.
pub fn with(mut base: Value, more: Value) -> Value {
    for (name, value) in more.as_object().unwrap() {
        match value {
            Value::Null => drop(base.as_object_mut().unwrap().remove(name)),
            value => base[name] = value.clone(),
        }
    }
    base
}
