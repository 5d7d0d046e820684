//! MLLP (HL7 v2.5.1 appendix C): frames, the listener, acknowledgements.

pub mod gate;
