//! The command line, as clap reads it. Words are those of the documentation; help texts are one sentence.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Runs signed WebAssembly remediation playbooks behind your own policy, with an audit trail and host-kept undo.
#[derive(Debug, Parser)]
#[command(name = "guardian", version, propagate_version = true, disable_help_subcommand = true, max_term_width = 100)]
pub struct Arguments {
    /// Keep everything under DIR (as etc/ and var/) instead of /etc/guardian and /var/lib/guardian.
    #[arg(long, global = true, value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// Print one JSON document instead of text; its shapes are documented and versioned (docs/json.md).
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a new home: configuration, empty trust, a policy that permits nothing but logging, keys, and the trail.
    Init,
    /// Run a playbook for an incident, and let the target's own check say whether it healed.
    Run(RunArguments),
    /// Run the same bytes with every effect simulated, and print what it would do, with verdicts.
    Plan(PlanArguments),
    /// Put back what a run did that did not heal, newest effect first.
    Undo {
        /// The run: r-1a205b640be7cacd.
        run: String,
        /// How long to wait for another writer of the trail: 10s.
        #[arg(long, value_name = "TIME")]
        wait: Option<String>,
    },
    /// Approve the plan of a run that waits, with your own key.
    Approve(ApproveArguments),
    /// Reject the plan of a run that waits, with your own key.
    Reject(RejectArguments),
    /// Break the glass: for a while, `run --break-glass` may do what no hard rule forbids. Loud, and on record.
    BreakGlass(GlassArguments),
    /// Let no playbook act on a resource for a while; takes hold within one call.
    Pause(PauseArguments),
    /// Lift a pause.
    Unpause {
        /// The resource: service.web.
        resource: String,
        /// Why; stands on the trail.
        #[arg(long)]
        reason: String,
    },
    /// Let no playbook act on anything for a while; takes hold within one call.
    Freeze {
        /// For how long: 30m.
        #[arg(long = "for", value_name = "TIME")]
        time: String,
        /// Why; stands on the trail.
        #[arg(long)]
        reason: String,
    },
    /// Lift a freeze.
    Unfreeze {
        /// Why; stands on the trail.
        #[arg(long)]
        reason: String,
    },
    /// Show the whole path once, in a temporary home: a service dies and is healed; hostile playbooks are stopped.
    Demo(DemoArguments),
    /// What is there, what it is doing, and whether anything needs a person.
    Status,
    /// Start or stop a service by hand. What a person stopped is not healed until a person starts it.
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Look at what guardian.toml names.
    #[command(subcommand)]
    Inventory(InventoryCommand),
    /// Build, sign, verify, inspect, add, list and remove playbooks.
    #[command(subcommand)]
    Playbook(PlaybookCommand),
    /// Check the policy, or ask why an action is or is not permitted.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Say which publishers are trusted, with which keys.
    #[command(subcommand)]
    Trust(TrustCommand),
    /// Read and verify the audit trail.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Make keys.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Print the completions of a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Compile one component from standard input (used by guardian itself, in a process that can be killed).
    #[command(hide = true)]
    CompileWorker {
        /// The limits, as JSON.
        limits: String,
    },
    /// Keep one service (used by guardian itself).
    #[command(hide = true)]
    Keeper {
        /// The keeper's folder.
        folder: PathBuf,
    },
    /// Run one command of the inventory to its end (used by guardian itself).
    #[command(name = "command-worker", hide = true)]
    Worker,
    /// Answer HTTP on a loopback port (used by the demo as the service that dies).
    #[command(hide = true)]
    DemoService {
        /// The port.
        port: u16,
    },
}

/// What a run is about.
#[derive(Args, Clone, Debug)]
pub struct IncidentArguments {
    /// The playbook, as publisher/name.
    #[arg(value_name = "PUBLISHER/NAME")]
    pub playbook: String,
    /// What happened, in your word for it: service_crashed.
    #[arg(long, value_name = "KIND")]
    pub incident: String,
    /// What it is about: service.web.
    #[arg(long, value_name = "RESOURCE")]
    pub target: String,
    /// How bad it is: 1 (a note) to 10 (everything is down).
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub severity: u8,
    /// A label, as key=value; may be given again. Labels are claims: no policy grants anything on them.
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub labels: Vec<String>,
}

/// `guardian run`.
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["playbook", "resume"]))]
pub struct RunArguments {
    /// What it is about.
    #[command(flatten)]
    pub incident: Option<IncidentArguments>,
    /// Go on with a run whose plan people have approved.
    #[arg(long, value_name = "RUN", conflicts_with_all = ["playbook", "incident", "target", "severity", "labels"])]
    pub resume: Option<String>,
    /// Run under glass that somebody broke with `guardian break-glass`: permitted is what no hard rule forbids.
    #[arg(long, conflicts_with = "resume")]
    pub break_glass: bool,
    /// How long to wait for another writer of the trail: 10s.
    #[arg(long, value_name = "TIME")]
    pub wait: Option<String>,
}

/// `guardian approve`.
#[derive(Args, Debug)]
pub struct ApproveArguments {
    /// The run that waits.
    pub run: String,
    /// Your private key file.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["print", "statement"])]
    pub key: Option<PathBuf>,
    /// Approve this sequence of effects and no other; else this many of each, in any order. Either way fewer are fine.
    #[arg(long)]
    pub exact: bool,
    /// For how long the approval counts.
    #[arg(long = "for", value_name = "TIME", default_value = "1h")]
    pub time: String,
    /// Print the statement to sign with `ssh-keygen -Y sign -n guardian-approval`, and do nothing else.
    #[arg(long, conflicts_with_all = ["key", "statement"])]
    pub print: bool,
    /// The statement that was printed, as a file.
    #[arg(long, value_name = "FILE", requires = "ssh_signature", conflicts_with = "key")]
    pub statement: Option<PathBuf>,
    /// The signature that ssh-keygen made over it.
    #[arg(long, value_name = "FILE", requires = "statement")]
    pub ssh_signature: Option<PathBuf>,
}

/// `guardian reject`.
#[derive(Args, Debug)]
pub struct RejectArguments {
    /// The run that waits.
    pub run: String,
    /// Your private key file.
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Why; stands on the trail.
    #[arg(long)]
    pub reason: String,
}

/// `guardian break-glass`.
#[derive(Args, Debug)]
pub struct GlassArguments {
    /// Why; stands on the trail.
    #[arg(long)]
    pub reason: String,
    /// For how long, at most 1h: 15m.
    #[arg(long = "for", value_name = "TIME", default_value = "15m")]
    pub time: String,
    /// Your private key file.
    #[arg(long, value_name = "FILE", required_unless_present = "end")]
    pub key: Option<PathBuf>,
    /// End glass that is broken, whoever broke it; takes hold within one call and needs no key.
    #[arg(long, conflicts_with_all = ["key", "time"])]
    pub end: bool,
}

/// `guardian pause`.
#[derive(Args, Debug)]
pub struct PauseArguments {
    /// The resource: service.web.
    pub resource: String,
    /// For how long: 30m.
    #[arg(long = "for", value_name = "TIME")]
    pub time: String,
    /// Why; stands on the trail.
    #[arg(long)]
    pub reason: String,
}

/// `guardian plan`.
#[derive(Args, Debug)]
pub struct PlanArguments {
    /// What it is about.
    #[command(flatten)]
    pub incident: IncidentArguments,
    /// Explore another branch: `fail:N` makes the N-th effect fail. May be given again.
    #[arg(long = "assume", value_name = "fail:N")]
    pub assume: Vec<String>,
}

/// `guardian demo`.
#[derive(Args, Debug)]
pub struct DemoArguments {
    /// Where the built playbooks lie (`make demo` builds them).
    #[arg(long, value_name = "DIR")]
    pub playbooks: PathBuf,
}

/// `guardian service`.
#[derive(Debug, Subcommand)]
pub enum ServiceCommand {
    /// Start a service, and hand it back to Guardian's care.
    Start {
        /// The service: web.
        name: String,
    },
    /// Stop a service: no playbook starts it again.
    Stop {
        /// The service: web.
        name: String,
    },
}

/// `guardian inventory`.
#[derive(Debug, Subcommand)]
pub enum InventoryCommand {
    /// Touch every named thing for real, without changing anything, and say what is missing.
    Check,
}

/// `guardian playbook`.
#[derive(Debug, Subcommand)]
pub enum PlaybookCommand {
    /// Compile a playbook's source folder into a component with its manifest inside.
    Build {
        /// The folder with Cargo.toml and playbook.toml.
        dir: PathBuf,
        /// Where to put NAME-RELEASE.wasm; default: the folder itself.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Sign a component; the signature goes beside it as FILE.dsse.json. Signing again adds a signature.
    Sign {
        /// The component.
        file: PathBuf,
        /// The private key file.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// For how many days it may be admitted; default: 365. Only for the first signature: later ones sign what it says.
        #[arg(long, value_name = "DAYS")]
        days: Option<u32>,
    },
    /// Check a signed component against this home's trust, without adding it.
    Verify {
        /// The component; its signature is FILE.dsse.json.
        file: PathBuf,
    },
    /// Show what a component says of itself and asks for. Nothing shown is verified.
    Inspect {
        /// The component.
        file: PathBuf,
    },
    /// Verify a signed component and take it into the store.
    Add {
        /// The component; its signature is FILE.dsse.json.
        file: PathBuf,
    },
    /// Go back to an earlier release that was accepted before and still lies in the store.
    Rollback {
        /// The playbook, as publisher/name.
        playbook: String,
        /// The release to go back to.
        #[arg(long, value_name = "RELEASE")]
        to: u64,
    },
    /// List the store.
    List,
    /// Take a playbook out of the store.
    Remove {
        /// The playbook, as publisher/name.
        playbook: String,
    },
}

/// `guardian policy`.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Load the policy as a run would, and show every mistake with file, line and caret.
    Check {
        /// Print the schema that policies are checked against.
        #[arg(long)]
        schema: bool,
    },
    /// Why an action is or is not permitted now, and the line that would permit it.
    Explain {
        /// The playbook, as publisher/name.
        playbook: String,
        /// The action: service.restart.
        action: String,
        /// The resource: service.web.
        resource: String,
        /// The incident kind to assume.
        #[arg(long, value_name = "KIND", default_value = "service_crashed")]
        incident: String,
        /// The incident's target to assume; default: the resource itself.
        #[arg(long, value_name = "RESOURCE")]
        target: Option<String>,
        /// The severity to assume.
        #[arg(long, value_name = "N", default_value_t = 5)]
        severity: u8,
    },
}

/// `guardian trust`.
#[derive(Debug, Subcommand)]
pub enum TrustCommand {
    /// Trust a key to sign for one publisher.
    Add {
        /// The public key file (NAME.pub) or the key itself.
        key: String,
        /// The publisher.
        #[arg(long, value_name = "NAME")]
        publisher: String,
        /// How many distinct keys must sign each release of this publisher.
        #[arg(long, value_name = "N")]
        threshold: Option<u32>,
        /// A label for the key, for people.
        #[arg(long, value_name = "LABEL")]
        label: Option<String>,
    },
    /// List trusted publishers and keys.
    List,
    /// No longer trust a publisher, or one of its keys.
    Remove {
        /// The publisher.
        publisher: String,
        /// Only the key with this label.
        #[arg(long, value_name = "LABEL")]
        key: Option<String>,
    },
    /// Never run these bytes again, whoever signed them.
    Revoke {
        /// The digest of the component: sha256:...
        digest: String,
        /// Why; stands on the trail.
        #[arg(long)]
        reason: String,
    },
    /// Run no release of a playbook below this one, not even by rollback.
    Floor {
        /// The playbook, as publisher/name.
        playbook: String,
        /// The oldest release that may run.
        release: u64,
    },
    /// Declare that the machine's clock is right again after it was set back.
    ResetClock {
        /// Why; stands on the trail.
        #[arg(long)]
        reason: String,
    },
}

/// `guardian audit`.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// List records, newest last.
    List {
        /// Only of this run.
        #[arg(long, value_name = "RUN")]
        run: Option<String>,
        /// Only of this type: intent, denied, run-end, ...
        #[arg(long = "type", value_name = "TYPE")]
        kind: Option<String>,
        /// Only from this record number on.
        #[arg(long, value_name = "N")]
        from: Option<u64>,
        /// At most so many, the latest ones; without this 50, and with --from all.
        #[arg(long, value_name = "N")]
        last: Option<usize>,
    },
    /// Show one record whole.
    Show {
        /// Its number.
        seq: u64,
    },
    /// Follow the trail as it is written.
    Tail,
    /// Check every byte: frames, numbers, tree roots and the signed checkpoint, derived anew.
    Verify,
    /// Say what became of an intent whose outcome is not known, so that its target can be healed again.
    Settle {
        /// The number of the intent's record.
        seq: u64,
        /// What you found; stands on the trail.
        #[arg(long)]
        reason: String,
    },
    /// After damage or a restored backup: begin a new trail that names the old one and what was lost.
    Recover {
        /// Why; stands first on the new trail.
        #[arg(long)]
        reason: String,
    },
    /// After cloning a machine: begin a trail of its own.
    Fork {
        /// Why; stands first on the new trail.
        #[arg(long)]
        reason: String,
    },
}

/// `guardian key`.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a signing key: FILE (private, 0600) and FILE.pub.
    New {
        /// Where to put it. It must not exist.
        file: PathBuf,
    },
}
