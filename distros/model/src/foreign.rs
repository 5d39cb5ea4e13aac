//! Messages of foreign programs that decide something: one module for each program, which alone knows their words.
//!
//! Each constant names the versions of the program from which its words were read.
//! What virtiofsd prints is in [`crate::virtiofsd`].

pub mod linux; // a guest's kernel on its console: panics, oopses, the end, the driver of PCIe slots
pub mod qemu; // QEMU on standard error and in QMP's refusals
pub mod runtimes; // runc and Kata's agent about a program that does not exist
