//! Everything that needs more than one module: scenarios over real sockets, files and processes, and the rules of the
//! house. One binary, a file a subject.

mod golden;
mod layout;
