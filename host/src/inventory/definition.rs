//! How the operator defined a resource: what people approve besides the effect itself.
//!
//! "Run `command.rebuild`" says nothing without the command behind that name. So whoever approves is shown a line of it, and
//! the plan holds a digest of all of it: two definitions are the same bytes only if the operator wrote the same, and every
//! field is among them, so that one that is added later is not forgotten here.
//!
//! What this room does not do: digest them. An environment may hold a password, and then a digest that anybody can compute
//! is one to guess against; whoever has the host's key makes it.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::{Command, Config, Files, Inventory, Service, Step, Storage, Supervisor};
use crate::model::{Name, ResourceKind, ResourceName, escape_to};

/// The longest line, in characters: an argument list that a person still reads.
const LONGEST_LINE: usize = 400;

/// What stands behind the name of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// What it comes to, in one line, escaped and bounded; without environments.
    pub line: String,
    /// All of it. May hold secrets: for a keyed digest, and for nothing else.
    pub bytes: Vec<u8>,
}

impl Definition {
    fn of(line: &str, whole: &impl Serialize) -> Option<Self> {
        Some(Self { line: escape_to(line, LONGEST_LINE), bytes: serde_json::to_vec(whole).ok()? })
    }
}

impl Inventory {
    /// What stands behind the name of a resource; none if it is not there.
    #[must_use]
    pub fn definition(&self, resource: &ResourceName) -> Option<Definition> {
        let name: Option<Name> = resource.name().parse().ok();
        let name = name.as_ref();
        match resource.kind() {
            ResourceKind::Service => {
                self.services.get(name?).and_then(|service| Definition::of(&of_service(service), service))
            }
            ResourceKind::Storage => {
                self.storages.get(name?).and_then(|storage| Definition::of(&of_storage(storage), storage))
            }
            ResourceKind::Config => {
                self.configs.get(name?).and_then(|config| Definition::of(&of_config(config), config))
            }
            ResourceKind::Command => {
                self.commands.get(name?).and_then(|command| Definition::of(&of_command(command), command))
            }
            ResourceKind::Probe => self.check(resource).and_then(|check| Definition::of("a look", check)),
            ResourceKind::Run => None,
        }
    }
}

fn of_service(service: &Service) -> String {
    match &service.supervisor {
        Supervisor::Systemd { unit } => format!("the unit {unit}"),
        Supervisor::Process(line) => format!("runs {}{}", argv(&line.argv), user(line.user.as_deref())),
    }
}

fn of_command(command: &Command) -> String {
    format!("runs {}{} in {}", argv(&command.argv), user(command.user.as_deref()), shown(&command.directory))
}

fn of_config(config: &Config) -> String {
    format!("{} as {}", shown(&config.path), shown(&config.baseline))
}

fn of_storage(storage: &Storage) -> String {
    let files =
        |files: &Files| format!("{}/{} older than {}", shown(&files.folder), files.matching, time(files.older_than));
    let step = |step: &Step| match step {
        Step::Compress(of) => format!("compress {}", files(of)),
        Step::Holders(services) => {
            format!("reload {}", services.iter().map(Name::as_str).collect::<Vec<_>>().join(", "))
        }
        Step::Trash(of) => format!("move away {}", files(of)),
        Step::Purge(of) => format!("remove {}", files(of)),
    };
    let steps: Vec<String> = storage.steps.iter().map(step).collect();
    format!("{}: {}", shown(&storage.path), steps.join("; "))
}

fn argv(argv: &[String]) -> String {
    argv.join(" ")
}

fn user(user: Option<&str>) -> String {
    user.map_or_else(String::new, |user| format!(" as {user}"))
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn time(time: Duration) -> String {
    format!("{} s", time.as_secs())
}

#[cfg(test)]
mod tests {
    use crate::inventory::{Configuration, Definition};

    const WHOLE: &str = "[service.web]\ncommand = ['/bin/web', '--port', '80']\nenvironment = { PASSWORD = 'hunter2' }\n\
        [storage.logs]\npath = '/srv/logs'\nof = 'service.web'\nsteps = [{ purge = 'old', match = '*.log', older_than = '1d' }]\n\
        [config.site]\npath = '/etc/site'\nbaseline = '/srv/site'\n\
        [command.rebuild]\nrun = ['/bin/rebuild', \"a\\u001bb\"]\n";

    fn definition(text: &str, resource: &str) -> Definition {
        let read = Configuration::parse(std::path::Path::new("guardian.toml"), text).unwrap();
        read.inventory.definition(&resource.parse().unwrap()).unwrap()
    }

    #[test]
    fn whatever_the_operator_changes_changes_it() {
        for (resource, from, to) in [
            ("service.web", "'--port', '80'", "'--port', '81'"),
            ("service.web", "hunter2", "hunter3"),
            ("storage.logs", "older_than = '1d'", "older_than = '2d'"),
            ("storage.logs", "purge = 'old'", "purge = 'older'"),
            ("storage.logs", "path = '/srv/logs'", "path = '/srv/other'"),
            ("storage.logs", "of = 'service.web'\n", ""),
            ("config.site", "/srv/site", "/srv/other"),
            ("config.site", "path = '/etc/site'", "path = '/etc/site'\nmode = '0600'"),
            ("command.rebuild", "/bin/rebuild", "/bin/other"),
            ("command.rebuild", "[command.rebuild]", "[command.rebuild]\nuser = 'app'"),
        ] {
            let changed = WHOLE.replace(from, to);
            assert_ne!(changed, WHOLE, "{from}");
            assert_eq!(definition(WHOLE, resource).bytes, definition(WHOLE, resource).bytes, "{from}");
            assert_ne!(definition(WHOLE, resource).bytes, definition(&changed, resource).bytes, "{resource}: {from}");
        }
    }

    #[test]
    fn a_person_reads_what_is_behind_the_name_and_no_secret() {
        let line = |resource| definition(WHOLE, resource).line;
        assert_eq!(line("service.web"), "runs /bin/web --port 80");
        assert_eq!(line("storage.logs"), "/srv/logs: remove old/*.log older than 86400 s");
        assert_eq!(line("config.site"), "/etc/site as /srv/site");
        assert!(
            line("command.rebuild").starts_with("runs /bin/rebuild a") && !line("command.rebuild").contains('\u{1b}')
        );
    }

    #[test]
    fn an_act_touches_what_its_definition_says_and_nothing_else() {
        let text =
            WHOLE.replace("steps = [", "steps = [{ holders = ['service.web'] }, ").replace("of = 'service.web'\n", "");
        let read = Configuration::parse(std::path::Path::new("guardian.toml"), &text).unwrap();
        let touched = |verb: &str, resource: &str| -> Vec<String> {
            let touched = read.inventory.touched(verb, &resource.parse().unwrap());
            touched.iter().map(ToString::to_string).collect()
        };
        assert_eq!(touched("storage.reclaim", "storage.logs"), ["storage.logs", "service.web"]);
        // Its twins: another verb, a storage that is not there, a name of another kind, a verb that is not known.
        for (verb, resource) in [
            ("storage.purge", "storage.logs"),
            ("storage.usage", "storage.logs"),
            ("storage.reclaim", "storage.none"),
            ("storage.reclaim", "config.logs"),
            ("service.reload", "service.web"),
            ("storage.shred", "storage.logs"),
        ] {
            assert_eq!(touched(verb, resource), [resource], "{verb}");
        }
        for (verb, on) in
            [("storage.reclaim", "storage.logs"), ("storage.purge", "storage.logs"), ("no.verb", "nothing")]
        {
            for resource in ["storage.logs", "service.web", "service.we", "config.logs"] {
                let listed =
                    on.parse().is_ok_and(|on| read.inventory.touched(verb, &on).contains(&resource.parse().unwrap()));
                let touches = read.inventory.touches(verb, on, &resource.parse().unwrap());
                assert_eq!(touches, listed, "{verb} {on} {resource}");
            }
        }
    }
}
