//! The error of somebody who reads a base for this crate.

use model::diagnostic::error_chain;
use std::error::Error;
use std::fmt;

/// Why a base that the caller reads cannot be used: an error of the caller's, whose kinds this crate does not know.
#[derive(Debug)]
pub struct BaseError(Box<dyn Error + Send + Sync>);

impl BaseError {
    /// Takes the caller's error.
    pub fn new(error: impl Error + Send + Sync + 'static) -> BaseError {
        BaseError(Box::new(error))
    }
}

impl fmt::Display for BaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&error_chain(&*self.0))
    }
}

impl Error for BaseError {}
