//! Broken glass, from outside: who may break it, where it counts, and how it ends.

use guardian_tests::{House, Said, text};

use super::approval::{key, more, nothing_done, public, says, waiting};

const RUN: [&str; 7] =
    ["run", "guardian/service_crashed", "--incident", "service_crashed", "--target", "service.web", "--break-glass"];

/// Breaks the glass.
fn broken(house: &House, key: &str, time: &str) -> Said {
    house.guardian(&["break-glass", "--reason", "all is on fire", "--key", key, "--for", time])
}

/// A house without a permit, and the key of eve, who may break the glass.
fn house() -> (House, String) {
    let house = House::new();
    let eve = breaker(&house, "eve", &key(&house, "eve"));
    std::fs::remove_file(house.permits().join("service_crashed.cedar")).expect("its permits");
    (house, eve)
}

fn breaker(house: &House, name: &str, key: &str) -> String {
    more(house, &format!("[person.{name}]\nkeys = ['{}']\nbreak_glass = true\n", public(key)));
    key.to_owned()
}

#[test]
fn glass_is_broken_by_who_may_and_used_by_who_says_so() {
    let (house, ann) = super::approval::house();
    let eve = breaker(&house, "eve", &key(&house, "eve"));
    let (glass, under) = (|key: &str, time: &str| broken(&house, key, time), RUN);
    says(&house.guardian(&under), 2, "nobody has broken the glass");
    says(&glass(&ann, "1m"), 3, "may not break the glass");
    says(&glass(&eve, "61m"), 2, "an hour at most");
    says(&glass(&eve, "1s"), 0, "GLASS BROKEN");
    assert!(house.ok(&["status"]).out.contains("GLASS BROKEN by eve"));
    assert_eq!(house.records("break-glass")[0]["person"], "eve");
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    says(&house.guardian(&under), 2, "it is over");
    nothing_done(&house);
    says(&glass(&eve, "1m"), 0, "GLASS BROKEN");
    // Broken glass changes nothing for a run that does not ask for it.
    waiting(&house);
    let toml = std::fs::read_to_string(house.root().join("etc/guardian.toml")).expect("toml");
    house.configure(&toml.replace("[service.web]\n", "[service.web]\nprotected = true\n"));
    let said = house.guardian(&under);
    assert_ne!(said.code, 0, "{said:?}");
    assert_eq!(house.web(), None, "a protected service was started: {said:?}");
    house.configure(&toml);
    says(&house.guardian(&under), 0, "GLASS BROKEN");
    assert!(house.web().is_some());
    let intent = house.records("intent").pop().expect("an intent");
    assert!(intent.to_string().contains("break-glass by eve"), "{intent}");
    // Nor does a playbook need a permit under it, and only under it.
    super::heal::kill(&house);
    std::fs::remove_file(house.permits().join("service_crashed.cedar")).expect("its permits");
    assert_eq!(house.heal(&[]).code, 3);
    assert_eq!(house.web(), None);
    says(&house.guardian(&under), 0, "GLASS BROKEN");
    assert!(house.web().is_some());
}

#[test]
fn who_wrote_the_code_breaks_no_glass_for_it() {
    let (house, eve) = house();
    let own = breaker(&house, "author", &text(&house.root().join("guardian.key")));
    says(&broken(&house, &own, "1m"), 0, "GLASS BROKEN");
    says(&house.guardian(&RUN), 3, "somebody else has to");
    nothing_done(&house);
    assert!(house.records("refused").iter().any(|record| record.to_string().contains("author")), "it is on record");
    says(&broken(&house, &eve, "1m"), 0, "GLASS BROKEN");
    says(&house.guardian(&RUN), 0, "GLASS BROKEN by eve");
    assert!(house.web().is_some());
}

#[test]
fn glass_is_broken_in_one_home_by_a_word_and_a_record() {
    let ((here, eve), (there, _)) = (house(), house());
    let word = |house: &House| house.root().join("var/state/approvals/glass.eve.word");
    says(&broken(&here, &eve, "1m"), 0, "GLASS BROKEN");
    // In another home, which knows the same person: her word is for the first one, and nothing is on record here.
    let toml = std::fs::read_to_string(there.root().join("etc/guardian.toml")).expect("toml");
    let (own, hers) = (public(&text(&there.root().join("eve.person"))), public(&eve));
    there.configure(&toml.replace(&own, &hers));
    std::fs::create_dir_all(word(&there).parent().expect("a folder")).expect("made");
    std::fs::copy(word(&here), word(&there)).expect("copied");
    says(&there.guardian(&RUN), 2, "nobody has broken the glass on this trail");
    // On record, with a word for another home in the place of hers.
    says(&broken(&there, &eve, "1m"), 0, "GLASS BROKEN");
    std::fs::copy(word(&here), word(&there)).expect("copied");
    says(&there.guardian(&RUN), 2, "nobody has broken the glass on this trail");
    nothing_done(&there);
    // On record, with no word.
    let kept = std::fs::read(word(&here)).expect("the word");
    std::fs::remove_file(word(&here)).expect("removed");
    says(&here.guardian(&RUN), 2, "nobody has broken the glass on this trail");
    nothing_done(&here);
    std::fs::write(word(&here), kept).expect("put back");
    says(&here.guardian(&RUN), 0, "GLASS BROKEN");
    // Who may no longer break it has not broken it.
    super::heal::kill(&here);
    let toml = std::fs::read_to_string(here.root().join("etc/guardian.toml")).expect("toml");
    here.configure(&toml.replace("break_glass = true", "break_glass = false"));
    says(&here.guardian(&RUN), 2, "nobody has broken the glass on this trail");
}

#[test]
fn whoever_runs_the_home_ends_it_early() {
    let (house, eve) = house();
    let end = ["break-glass", "--end", "--reason", "the fire is out"];
    says(&house.guardian(&end), 0, "no glass is broken");
    says(&broken(&house, &eve, "1h"), 0, "GLASS BROKEN");
    says(&house.guardian(&end), 0, "the glass that eve broke is over");
    says(&house.guardian(&RUN), 2, "it is over");
    nothing_done(&house);
    assert!(!house.ok(&["status"]).out.contains("GLASS BROKEN"));
    assert!(house.records("order").iter().any(|record| record.to_string().contains("the fire is out")));
    says(&house.guardian(&end), 0, "no glass is broken");
    says(&house.guardian(&["break-glass", "--end"]), 2, "--reason");
    says(&broken(&house, &eve, "1h"), 0, "GLASS BROKEN");
    says(&house.guardian(&RUN), 0, "GLASS BROKEN");
    assert!(house.web().is_some(), "what is broken after it counts");
}
