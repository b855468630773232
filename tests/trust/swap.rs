//! Bytes swapped on the disk between the check and the use, on the real path: what was verified is what is compiled.
//!
//! Two components with one name: the honest one is signed, makes two calls and reports; the other one ends at its first
//! instruction. Which of the two was compiled is seen by running it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use guardian::audit::{Reader, Trail};
use guardian::inventory::Home;
use guardian::model::{Digest, Limits, Manifest, SystemClock};
use guardian::registry::RegistryError;
use guardian::run::{Admitted, Request, RunError, Site, admit};
use guardian::sandbox::{GuestEnd, run};
use guardian::trust::embed_manifest;
use guardian_tests::{House, text, wait_until};

const PERMITS: &str = r#"@id("look") permit (principal == Guardian::Playbook::"acme/looks",
  action in [Guardian::Action::"service.status", Guardian::Action::"probe.run"],
  resource in Guardian::Target::"service.web");"#;

fn artifact(guest: &str) -> Vec<u8> {
    let manifest = Manifest::from_toml(
        "publisher='acme'\nname='looks'\nversion='1.0.1'\nrelease=1\ndescription='d'\n\
         capabilities=['service', 'probe']\nroles={target='service'}",
    );
    embed_manifest(&crate::guests::component(guest), &manifest.unwrap()).unwrap()
}

fn honest() -> Vec<u8> {
    artifact(include_str!("../guests/good.wat"))
}

fn other() -> Vec<u8> {
    artifact(include_str!("../guests/trap_at_once.wat"))
}

/// A home that trusts `acme`, and the honest component in a file beside it, signed.
fn house() -> (House, PathBuf) {
    let house = House::empty();
    house.ok(&["init"]);
    house.configure("[service.web]\ncommand = ['/bin/sleep', '1000']\ncheck = { supervisor = true }\n");
    std::fs::write(house.permits().join("looks.cedar"), PERMITS).unwrap();
    let (key, file) = (house.root().join("acme.key"), house.root().join("looks-1.wasm"));
    std::fs::write(&file, honest()).unwrap();
    house.ok(&["key", "new", &text(&key)]);
    house.ok(&["trust", "add", &format!("{}.pub", text(&key)), "--publisher", "acme"]);
    house.ok(&["playbook", "sign", &text(&file), "--key", &text(&key)]);
    (house, file)
}

/// The home, opened as a run opens it; `compiler` is started to compile.
fn site(house: &House, compiler: PathBuf) -> Site {
    Site::open(Home::at(house.root()), compiler, Arc::new(SystemClock::default())).unwrap()
}

fn admitted(house: &House, site: &Site) -> Result<Admitted, RunError> {
    let state = Reader::open(&house.root().join("var")).unwrap().state().unwrap();
    let inventory = &site.configuration.inventory;
    let request = Request::new(inventory, "acme/looks", "service_crashed", "service.web", 5, &[]).unwrap();
    admit(site, &state, &request, false)
}

/// What was compiled is the honest one.
fn is_honest(site: &Site, admitted: &Admitted) {
    let program = site.program(admitted).unwrap();
    let (calls, asked) = crate::guests::willing();
    let end = run(&program, &crate::guests::incident(), &Limits::default(), calls);
    assert!(matches!(end, GuestEnd::Returned(_)), "other bytes were compiled than were verified: {end:?}");
    assert_eq!(asked.lock().unwrap().len(), 2);
}

fn forget_compiled_code(house: &House) {
    for entry in std::fs::read_dir(house.root().join("var/cache")).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
}

/// A compiler that refuses whatever it is given: with it, code comes from the cache or not at all.
fn no_compiler() -> PathBuf {
    PathBuf::from("/bin/false")
}

#[test]
fn what_lies_in_the_store_is_swapped_after_it_was_verified() {
    let (house, file) = house();
    house.ok(&["playbook", "add", &text(&file)]);
    let stored = house.root().join(format!("var/store/sha256/{}.wasm", Digest::of(&honest()).hex()));
    let replace = |path: &Path, bytes: &[u8]| {
        std::fs::write(path.with_extension("new"), bytes).unwrap();
        std::fs::rename(path.with_extension("new"), path).unwrap();
    };
    // Another file under the name, and other bytes in the file itself.
    for swap in
        [&replace, &|path: &Path, bytes: &[u8]| std::fs::write(path, bytes).unwrap()] as [&dyn Fn(&Path, &[u8]); 2]
    {
        forget_compiled_code(&house);
        let site = site(&house, guardian_tests::program());
        let admission = admitted(&house, &site).unwrap();
        swap(&stored, &other());
        is_honest(&site, &admission);
        // The twin: whoever reads it now is refused.
        assert!(matches!(admitted(&house, &site), Err(RunError::Registry(RegistryError::Damaged { .. }))));
        swap(&stored, &honest());
        let cached = self::site(&house, no_compiler());
        is_honest(&cached, &admitted(&house, &cached).unwrap());
    }
}

#[test]
fn the_file_of_playbook_add_is_swapped_after_it_was_read() {
    let (house, file) = house();
    let writer = Trail::lock(&site(&house, no_compiler()).audit_options()).unwrap();
    let mut adding = house.command(&["playbook", "add", &text(&file)]);
    let adding = adding.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It has read the file, and waits for the writer of the trail: it holds the folder that is locked.
    let (fds, audit) = (format!("/proc/{}/fd", adding.id()), house.root().join("var/audit").canonicalize().unwrap());
    let holds = |entry: std::io::Result<std::fs::DirEntry>| entry.and_then(|fd| fd.path().read_link());
    wait_until("the wait for the lock", || {
        std::fs::read_dir(&fds).is_ok_and(|mut fds| fds.any(|fd| holds(fd).is_ok_and(|path| path == audit)))
    });
    std::fs::write(&file, other()).unwrap();
    drop(writer);
    let said = guardian_tests::Said::from(adding.wait_with_output().unwrap());
    assert_eq!(said.code, 0, "{said:?}");
    // What was added, and what was compiled when it was added.
    let cached = site(&house, no_compiler());
    let admission = admitted(&house, &cached).unwrap();
    assert_eq!(*admission.verified().digest(), Digest::of(&honest()));
    is_honest(&cached, &admission);
    // The twin: the file as it is now is refused.
    house.refused(&["playbook", "add", &text(&file)], 3, &["bytes"]);
}
