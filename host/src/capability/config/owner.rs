//! Whose a file should be: `user` or `user:group`, by name or by number.
//!
//! Names are looked up in `/etc/passwd` and `/etc/group` when they are needed, because a user can be made while Guardian
//! runs. Users of a directory service have to be given by number. A user without a group leaves the group to the baseline.

use crate::capability::error::HandError;
use crate::capability::keeper::order;
use crate::model::escape;

/// Looks an owner up: the user, and the group if one is named.
pub(super) fn owner(text: &str) -> Result<(u32, Option<u32>), HandError> {
    let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
    Ok((uid(user)?, group.map(gid).transpose()?))
}

fn uid(user: &str) -> Result<u32, HandError> {
    if let Ok(uid) = user.parse() {
        return Ok(uid);
    }
    order::account(user).map(|account| account.uid).map_err(|_| unknown("user", user, "/etc/passwd"))
}

fn gid(group: &str) -> Result<u32, HandError> {
    if let Ok(gid) = group.parse() {
        return Ok(gid);
    }
    let groups = std::fs::read_to_string("/etc/group").map_err(HandError::io("read /etc/group"))?;
    let found = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?);
        (name == group).then(|| gid.parse().ok())?
    });
    found.ok_or_else(|| unknown("group", group, "/etc/group"))
}

fn unknown(what: &str, name: &str, file: &str) -> HandError {
    HandError::Unavailable {
        what: format!("{what} `{}` is not in {file}", escape(name)),
        remedy: "correct `owner`, or give its number".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_looked_up_and_never_guessed() {
        assert_eq!(owner("root").unwrap(), (0, None));
        assert_eq!(owner("root:root").unwrap(), (0, Some(0)));
        assert_eq!(owner("7:8").unwrap(), (7, Some(8)));
        for (bad, words) in [("nobody-here", "/etc/passwd"), ("root:nobody-here", "/etc/group"), ("", "/etc/passwd")] {
            assert!(owner(bad).unwrap_err().to_string().contains(words), "{bad}");
        }
    }
}
