//! The names of users.

use crate::process::bounded_lossy;
use std::collections::HashMap;
use std::sync::Arc;

/// At most this many users are kept; hosts that have more get them from a directory, not from a file.
const USERS_MAX: usize = 65_536;

/// Longer names are cut (LOGIN_NAME_MAX, limits.h).
const USER_NAME_MAX: usize = 256;

/// Names by number, as passwd(5) has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Users(HashMap<u32, Arc<str>>);

impl Users {
    /// Reads a file in the form of `/etc/passwd`. Lines that are not understood are passed over; of two lines with
    /// one number the first holds, as for getpwuid(3).
    pub fn parse(passwd: &[u8]) -> Users {
        let mut users = HashMap::new();
        for line in passwd.split(|byte| *byte == b'\n') {
            let mut fields = line.split(|byte| *byte == b':');
            let (Some(name), Some(_password), Some(uid)) = (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            let Some(uid) = std::str::from_utf8(uid).ok().and_then(|uid| uid.parse().ok()) else { continue };
            // `+` and `-` refer to another service (nsswitch.conf(5), compat).
            let named = !matches!(name.first(), None | Some(b'+' | b'-' | b'#'));
            if named && users.len() < USERS_MAX {
                users.entry(uid).or_insert_with(|| bounded_lossy(name, USER_NAME_MAX).into());
            }
        }
        Users(users)
    }

    /// The name of a user, if it is known.
    pub fn get(&self, uid: u32) -> Option<&Arc<str>> {
        self.0.get(&uid)
    }

    /// The name of a user; its number where there is none.
    pub fn name(&self, uid: u32) -> Arc<str> {
        self.get(uid).map_or_else(|| uid.to_string().into(), Arc::clone)
    }

    /// How many are known.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_by_number() {
        let users = Users::parse(
            b"root:x:0:0:root:/root:/bin/bash\ntoor:x:0:0::/:/bin/sh\n\n#off:x:7:7::/:\n+nis:x:8:8::/:\n\
              broken:x\nnobody:x:65534:65534::/:/sbin/nologin\n:x:9:9::/:\nbig:x:99999999999:1::/:\na\xff:x:10:10::/:",
        );
        let name = |uid| users.name(uid).to_string();
        assert_eq!([name(0), name(65534), name(10)], ["root", "nobody", "a\u{fffd}"]);
        assert_eq!([name(7), name(8), name(9), name(1000)], ["7", "8", "9", "1000"], "unknown");
        assert_eq!(users.len(), 3);
    }

    #[test]
    fn bounded() {
        let many: String = (0..70_000).map(|uid| format!("u{uid}:x:{uid}:0::/:\n")).collect();
        assert_eq!(Users::parse(many.as_bytes()).len(), USERS_MAX);
        let long = format!("{}:x:1:1::/:", "n".repeat(5000));
        assert_eq!(Users::parse(long.as_bytes()).name(1).len(), USER_NAME_MAX);
    }
}
