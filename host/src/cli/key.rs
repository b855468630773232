//! `guardian key`: signing keys for publishers.

use serde_json::json;

use crate::trust::SigningKey;

use super::Exit;
use super::arguments::KeyCommand;
use super::context::{Context, folder_of};
use super::failure::Failure;

pub(super) fn execute(context: &Context, command: KeyCommand) -> Result<Exit, Failure> {
    let KeyCommand::New { file } = command;
    let (folder, name) = folder_of(&file)?;
    // Both halves or none: a public half that is there may be the one that somebody trusts.
    for name in [name.clone(), format!("{name}.pub")] {
        if folder.dir().exists(&name) {
            return Err(Failure::usage(format!(
                "there is a file `{}` already; a key is never written over",
                folder.path().join(&name).display()
            )));
        }
    }
    let key = SigningKey::generate()?;
    key.store(&folder, &name)?;
    let public = key.public();
    folder.replace_with_mode(&format!("{name}.pub"), format!("{public}\n").as_bytes(), 0o644)?;
    let screen = &context.screen;
    if screen.json() {
        screen.document(
            "key",
            &json!({ "private": file, "public": public.to_string(), "id": public.id().to_string() }),
        )?;
    } else {
        let shown = crate::model::escape(&file.display().to_string());
        screen.say(&format!("made {shown} (keep it secret) and {shown}.pub"));
        screen.say(&public.to_string());
    }
    Ok(Exit::Ok)
}
