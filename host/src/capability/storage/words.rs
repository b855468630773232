//! Steps in words: as they stand in the record of a call, and as a person would type them.

use std::path::Path;

use crate::capability::trusted::quoted;
use crate::inventory::{Files, Share, Step, Storage};
use crate::model::StorageVerb;

use super::find::DEEPEST;

pub(super) fn share(share: Share, exactly: impl Fn(u64) -> String) -> String {
    match share {
        Share::Percent(percent) => format!("{percent}%"),
        Share::Exactly(count) => exactly(count),
    }
}

/// `500 MiB`: in the largest unit of which there is at least one.
pub(super) fn size(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let fits = units.into_iter().find(|(shift, _)| bytes >> shift > 0);
    fits.map_or_else(|| format!("{bytes} B"), |(shift, unit)| format!("{} {unit}", bytes >> shift))
}

/// A step as it stands in a record: `compress app/*.log.*`.
pub(super) fn step(step: &Step) -> String {
    let files = |word: &str, files: &Files| {
        let folder = files.folder.to_string_lossy();
        if folder == "." { format!("{word} {}", files.matching) } else { format!("{word} {folder}/{}", files.matching) }
    };
    match step {
        Step::Compress(step) => files("compress", step),
        Step::Holders(services) => {
            let services: Vec<String> = services.iter().map(|name| format!("service.{name}")).collect();
            format!("holders {}", services.join(", "))
        }
        Step::Trash(step) => files("trash", step),
        Step::Purge(step) => files("purge", step),
    }
}

/// What a person would type, a line a step.
pub(super) fn by_hand(
    verb: StorageVerb,
    storage: &Storage,
    reload: impl Fn(&crate::model::Name) -> Option<String>,
) -> Option<String> {
    let path = storage.path.to_str()?;
    if verb == StorageVerb::Usage {
        return Some(format!("df -h {0}; df -i {0}", quoted(path)));
    }
    let mut lines = Vec::new();
    for step in &storage.steps {
        match (verb, step) {
            (StorageVerb::Reclaim, Step::Compress(files)) => {
                lines.push(format!("{} -links 1 ! -name '*.gz' -exec gzip {{}} +", find(&storage.path, files)?));
            }
            (StorageVerb::Reclaim, Step::Holders(services)) => lines.extend(services.iter().filter_map(&reload)),
            (StorageVerb::Reclaim, Step::Trash(files)) => {
                let trash = quoted(storage.trash.as_ref()?.to_str()?);
                lines.push(format!("{} -links 1 -exec mv -n -t {trash} {{}} +", find(&storage.path, files)?));
            }
            (StorageVerb::Purge, Step::Purge(files)) => lines.push(format!("{} -delete", find(&storage.path, files)?)),
            _ => {}
        }
    }
    (!lines.is_empty()).then(|| lines.join("\n"))
}

fn find(path: &Path, files: &Files) -> Option<String> {
    let folder = if files.folder == Path::new(".") { path.to_owned() } else { path.join(&files.folder) };
    let minutes = files.older_than.as_secs() / 60;
    // `-P`, which follows no link, is what find does by itself.
    Some(format!(
        "find {} -xdev -maxdepth {} -type f -name {} -mmin +{minutes}",
        quoted(folder.to_str()?),
        DEEPEST + 1,
        quoted_always(&files.matching)
    ))
}

/// In quotes even where the word looks plain: a pattern is not for the shell.
fn quoted_always(word: &str) -> String {
    let quoted = quoted(word);
    if quoted == word { format!("'{word}'") } else { quoted }
}
