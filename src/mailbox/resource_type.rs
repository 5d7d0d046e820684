//! The resource types that the mailbox stores, and where each keeps what is searched.

/// A stored resource type. The numbers are in the database: never change one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum ResourceType {
    Patient = 1,
    Encounter = 2,
    Condition = 3,
    Procedure = 4,
    Observation = 5,
    AllergyIntolerance = 6,
    Location = 7,
}

impl ResourceType {
    pub const ALL: [Self; 7] = [
        Self::Patient,
        Self::Encounter,
        Self::Condition,
        Self::Procedure,
        Self::Observation,
        Self::AllergyIntolerance,
        Self::Location,
    ];

    /// What a visit's snapshot consists of; allergies are counted by patient.
    pub const CLINICAL: [Self; 4] = [Self::Condition, Self::Procedure, Self::Observation, Self::AllergyIntolerance];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Patient => "Patient",
            Self::Encounter => "Encounter",
            Self::Condition => "Condition",
            Self::Procedure => "Procedure",
            Self::Observation => "Observation",
            Self::AllergyIntolerance => "AllergyIntolerance",
            Self::Location => "Location",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    #[must_use]
    pub fn from_code(code: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|&kind| kind as i64 == code)
    }

    #[must_use]
    pub fn is_clinical(self) -> bool {
        Self::CLINICAL.contains(&self)
    }

    /// The element that says whose it is.
    #[must_use]
    pub fn patient_element(self) -> Option<&'static str> {
        match self {
            Self::Encounter | Self::Condition | Self::Procedure | Self::Observation => Some("subject"),
            Self::AllergyIntolerance => Some("patient"),
            Self::Patient | Self::Location => None,
        }
    }
}
