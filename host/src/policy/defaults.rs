//! The two files that `guardian init` writes into an empty policy folder.
//!
//! They grant only what hurts nobody, so that the first permit for an effect is a line the operator wrote.

/// `hard/protected.cedar`: what the inventory marks `protected` is looked at, never touched.
pub const DEFAULT_HARD: &str = r#"// Hard rules only forbid. No permit and no approval lifts one.

@id("protected")
@why("a resource with `protected = true` in guardian.toml is looked at, never touched")
forbid (
  principal,
  action in [Guardian::Action::"transient", Guardian::Action::"reversible", Guardian::Action::"irreversible"],
  resource
)
when { resource.protected };
"#;

/// `permits/basics.cedar`: every playbook may log into its own run and read the clock.
pub const DEFAULT_BASICS: &str = r#"// Permits only permit. What no permit covers is denied; `guardian policy explain` prints the line that is missing.

@id("basics")
@why("every playbook may write into its own run's log, read the clock and wait")
@wide("touches nothing but the run itself, within the limits of every run")
permit (principal, action in Guardian::Action::"basics", resource == Guardian::Run::"self");
"#;
