//! Write Guardian playbooks in Rust.
//!
//! A playbook is a type that implements [`Playbook`] and is exported with [`export!`]. What it can do is what this crate
//! has a module for: [`service`], [`storage`], [`config`], [`command`], [`probe`], [`log`], [`clock`]. Every call names a
//! resource of the operator's inventory and may be denied; a denial is an [`Error`] like any other, and `?` passes it on.
//!
//! ```
//! use guardian_sdk::{Error, Incident, Playbook, Report, info, service};
//!
//! struct Restart;
//!
//! impl Playbook for Restart {
//!     fn remediate(incident: &Incident) -> Result<Report, Error> {
//!         let web = incident.service()?;
//!         info!("restarting {web}");
//!         let status = service::restart(web)?;
//!         Ok(Report::new(format!("restarted {web}: it is {:?}", status.state)))
//!     }
//! }
//!
//! guardian_sdk::export!(Restart);
//! ```
//!
//! `guardian playbook build` makes a component of it. To test one, no component is needed: on the machine you write it
//! on, the same code runs against a [`scripted::Host`].
//!
//! ```
//! # use guardian_sdk::{Error, Incident, Playbook, Report, service};
//! # struct Restart;
//! # impl Playbook for Restart {
//! #     fn remediate(incident: &Incident) -> Result<Report, Error> {
//! #         service::restart(incident.service()?)?;
//! #         Ok(Report::new("done"))
//! #     }
//! # }
//! use guardian_sdk::scripted::{self, Host};
//! use guardian_sdk::service::State;
//!
//! let played = Host::new()
//!     .service("restart", "web", Ok(scripted::status(State::Running)))
//!     .play::<Restart>(&scripted::incident("service_crashed", "service", "web"));
//! assert!(played.answer.is_ok());
//! assert_eq!(played.calls, ["service.restart web"]);
//! ```
//!
//! There is nothing else: no files, no network, no environment, no randomness. `println!` goes nowhere, and a panic ends
//! the run as a trap without a word, so return an [`Error`] instead.

pub mod clock;
pub mod command;
pub mod config;
mod error;
pub mod log;
pub mod probe;
#[cfg(not(target_arch = "wasm32"))]
pub mod scripted;
pub mod service;
pub mod storage;

/// Made from wit/ by wit-bindgen. Not for use by hand: [`export!`] needs to reach it.
#[doc(hidden)]
#[allow(missing_docs, unsafe_code, unreachable_pub, clippy::all)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../wit",
        world: "playbook",
        pub_export_macro: true,
        export_macro_name: "export_component",
        default_bindings_module: "guardian_sdk::bindings",
    });
}

pub use bindings::guardian::playbook::types::{Denial, Incident, Report, Resource};
pub use error::Error;

/// A playbook.
pub trait Playbook {
    /// Tries to heal one incident. Called once per run, in a fresh instance: nothing is kept between runs.
    ///
    /// `Ok` says that it did what it could; the host then asks the target's own check whether it is healed.
    ///
    /// # Errors
    /// When it could not. The host leaves things as they are and calls a person.
    fn remediate(incident: &Incident) -> Result<Report, Error>;
}

/// Exports a [`Playbook`] as the component's `remediation`. Once per crate, at its root; `crate-type` must have `cdylib`.
/// On anything but wasm32 it only checks that the type is a playbook.
#[macro_export]
macro_rules! export {
    ($playbook:ty) => {
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code)]
        const _: () = {
            use $crate::bindings;
            struct Exported;
            impl bindings::exports::guardian::playbook::remediation::Guest for Exported {
                fn remediate(
                    incident: $crate::Incident,
                ) -> ::core::result::Result<$crate::Report, bindings::guardian::playbook::types::Error> {
                    <$playbook as $crate::Playbook>::remediate(&incident).map_err(::core::convert::Into::into)
                }
            }
    bindings::export_component!(Exported with_types_in bindings);
        };
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn(&$crate::Incident) -> ::core::result::Result<$crate::Report, $crate::Error> =
            <$playbook as $crate::Playbook>::remediate;
    };
}

impl Incident {
    /// The service that the incident is about.
    ///
    /// # Errors
    /// `invalid`, if it is about something else.
    pub fn service(&self) -> Result<&str, Error> {
        self.of_kind("service")
    }

    /// The storage that the incident is about.
    ///
    /// # Errors
    /// `invalid`, if it is about something else.
    pub fn storage(&self) -> Result<&str, Error> {
        self.of_kind("storage")
    }

    /// The configuration that the incident is about.
    ///
    /// # Errors
    /// `invalid`, if it is about something else.
    pub fn config(&self) -> Result<&str, Error> {
        self.of_kind("config")
    }

    fn of_kind(&self, kind: &str) -> Result<&str, Error> {
        if self.target.kind == kind {
            Ok(&self.target.name)
        } else {
            Err(Error::invalid(format!("this playbook is for a {kind}, not for a {}", self.target.kind)))
        }
    }

    /// What the operator bound to a role or a parameter of the manifest.
    #[must_use]
    pub fn binding(&self, name: &str) -> Option<&str> {
        self.bindings.iter().find(|(bound, _)| bound == name).map(|(_, value)| value.as_str())
    }

    /// What the reporter said under that key. A claim: nobody checked it.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }
}

impl Report {
    /// A report of one or two sentences.
    #[must_use]
    pub fn new(summary: impl Into<String>) -> Self {
        Self { summary: summary.into(), extra: Vec::new() }
    }
}
