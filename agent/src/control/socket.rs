//! Where the control socket is, and how it is made without harm to anybody else's.

use crate::config::{Control, Variables};
use crate::outputs::http::server;
use rustix::fs::{CWD, FileType, FlockOperation, Mode, OFlags};
use rustix::process::geteuid;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};

const NAME: &str = "control.sock";

/// How long another agent may take to answer before its socket counts as served all the same.
const CONNECT: Duration = Duration::from_millis(500);

/// Where the socket is to be; `None` when it is off.
///
/// # Errors
/// When there is no usual place for this user.
pub fn path(control: &Control, variables: &Variables) -> Result<Option<PathBuf>, String> {
    match control {
        Control::Off => Ok(None),
        Control::At(path) => Ok(Some(path.clone())),
        Control::Usual => usual(variables, geteuid().is_root()).map(Some).ok_or_else(|| {
            "neither RUNTIME_DIRECTORY nor XDG_RUNTIME_DIR is set; name a path in outputs.control".to_owned()
        }),
    }
}

/// systemd.exec(5), `RuntimeDirectory=`: a list divided by colons; the XDG base directory specification.
fn usual(variables: &Variables, root: bool) -> Option<PathBuf> {
    let absolute = |name: &str| {
        let first = variables.get(name)?.split(':').next().map(Path::new)?;
        first.is_absolute().then(|| first.to_owned())
    };
    let folder = match absolute("RUNTIME_DIRECTORY") {
        Some(folder) => folder,
        None if root => PathBuf::from("/run/procagent"),
        None => absolute("XDG_RUNTIME_DIR")?.join("procagent"),
    };
    Some(folder.join(NAME))
}

/// A listening socket that takes its own user and root only.
#[derive(Debug)]
pub struct Socket(UnixListener);

/// The file of a socket that was made here; removed when dropped, if it still is that one.
#[derive(Debug)]
pub struct Made {
    path: PathBuf,
    identity: Identity,
}

impl Drop for Made {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            let _gone_already = std::fs::remove_file(&self.path);
        }
    }
}

impl Socket {
    /// Makes the socket, and its folder where there is none. What is there and no socket stays, and so does a socket
    /// that somebody serves; one that a dead agent left is replaced.
    ///
    /// # Errors
    /// What stands in the way.
    pub async fn bind(path: &Path) -> io::Result<(Socket, Made)> {
        let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        match std::fs::DirBuilder::new().mode(0o750).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(io::Error::new(error.kind(), format!("cannot make its folder: {error}")));
            }
            _ => {}
        }
        // Of two agents that start at once, one looks and makes before the other looks.
        #[allow(clippy::disallowed_methods, reason = "the agent's own folder")]
        let lock = rustix::fs::openat(CWD, folder, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| io::Error::other("another agent is making one there at this moment"))?;
        clear(path).await?;
        let listener = UnixListener::bind(path)?;
        let made = Made { path: path.to_owned(), identity: identity(path)? };
        // Whoever came in between is turned away by its user, as all others are.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
        Ok((Socket(listener), made))
    }
}

/// Makes room, unless what is there is in use or no socket.
async fn clear(path: &Path) -> io::Result<()> {
    let file = match rustix::fs::lstat(path) {
        Ok(file) => FileType::from_raw_mode(file.st_mode),
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    };
    if file != FileType::Socket {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "something else than a socket is there, and stays; move it away or choose another path in outputs.control",
        ));
    }
    match tokio::time::timeout(CONNECT, UnixStream::connect(path)).await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        _ => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another agent serves it; choose another path in outputs.control for this one, or `off`",
        )),
    }
}

/// Device, inode, and when it was made: filesystems give the number of a removed inode to the next one.
type Identity = (u64, u64, i64, i64);

fn identity(path: &Path) -> io::Result<Identity> {
    let file = std::fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino(), file.mtime(), file.mtime_nsec()))
}

impl server::Listener for Socket {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<UnixStream> {
        loop {
            let (stream, _) = self.0.accept().await?;
            // unix(7), SO_PEERCRED: who called connect, as the kernel says.
            let user = stream.peer_cred().map(|credentials| credentials.uid());
            match user {
                Ok(user) if user == 0 || user == geteuid().as_raw() => return Ok(stream),
                Ok(user) => tracing::debug!(user, "turned away from the control socket"),
                Err(_gone) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_places() {
        let at = |variables, root| usual(&variables, root).map(|path| path.display().to_string());
        let systemd = Variables::from([("RUNTIME_DIRECTORY", "/run/a:/run/b"), ("XDG_RUNTIME_DIR", "/x")]);
        assert_eq!(at(systemd, true).as_deref(), Some("/run/a/control.sock"));
        assert_eq!(at(Variables::default(), true).as_deref(), Some("/run/procagent/control.sock"));
        let user = Variables::from([("XDG_RUNTIME_DIR", "/run/user/7")]);
        assert_eq!(at(user, false).as_deref(), Some("/run/user/7/procagent/control.sock"));
        assert_eq!(at(Variables::default(), false), None);
        assert_eq!(at(Variables::from([("XDG_RUNTIME_DIR", "relative")]), false), None);
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[test]
    fn made_privately_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/control.sock");
        runtime().block_on(async {
            let (_socket, made) = Socket::bind(&path).await.unwrap();
            let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!((mode(&path), mode(path.parent().unwrap()) & !0o750), (0o660, 0));
            drop(made);
            assert!(!path.exists());
        });
    }

    #[test]
    fn what_another_serves_stays_and_what_is_stale_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        runtime().block_on(async {
            let (first, made) = Socket::bind(&path).await.unwrap();
            assert!(Socket::bind(&path).await.unwrap_err().to_string().contains("another agent"));
            drop(first);
            let (_second, second_made) = Socket::bind(&path).await.unwrap();
            drop(made);
            assert!(path.exists(), "the first agent's end does not take the second one's socket");
            drop(second_made);
            assert!(!path.exists());
        });
    }

    #[test]
    fn what_is_no_socket_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        std::fs::write(&path, "precious").unwrap();
        let link = folder.path().join("link.sock");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        runtime().block_on(async {
            for path in [&path, &link] {
                let error = Socket::bind(path).await.unwrap_err().to_string();
                assert!(error.contains("something else than a socket"), "{error}");
            }
        });
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 8);
    }
}
