//! What the path of a control group says: the systemd unit, the container and the pod that a process belongs to.
//! Paths are those of `/proc/PID/cgroup`, of any hierarchy (cgroups(7)).

use std::borrow::Cow;

/// Suffixes of units that can hold processes of their own; slices only order others (systemd.unit(5)).
const UNIT_SUFFIXES: [&str; 5] = [".service", ".scope", ".socket", ".mount", ".swap"];

/// The longest name of a unit (systemd.unit(5)).
const UNIT_MAX: usize = 255;

/// The length of a container's id in all runtimes that make one up: SHA-256 in hexadecimal.
const CONTAINER_ID: usize = 64;

/// The outermost systemd unit on the path, as `systemctl status PID` names it: for a program of a user's session
/// that is `user@1000.service` or `session-3.scope`. `None` where there are only slices and folders of others.
pub fn unit(path: &str) -> Option<&str> {
    components(path).find_map(|component| {
        // systemd puts `_` before a name that could be one of the kernel's files (CONTROL_GROUP_INTERFACE).
        let name = component.strip_prefix('_').unwrap_or(component);
        is_unit(name).then_some(name)
    })
}

fn is_unit(name: &str) -> bool {
    let Some(prefix) = UNIT_SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix)) else {
        return false;
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    name.len() <= UNIT_MAX && !prefix.is_empty() && !prefix.starts_with('@') && name.chars().all(allowed)
}

/// The id of the container, 64 hexadecimal digits: of the innermost one, where containers are nested. Docker,
/// containerd, CRI-O and Podman are known, with systemd and cgroupfs as drivers. What runs beside a container to
/// watch it (conmon) is not in it.
pub fn container_id(path: &str) -> Option<&str> {
    components(path).rev().find_map(container_of)
}

fn container_of(component: &str) -> Option<&str> {
    // containerd with the systemd driver off and its paths on: `kubepods-pod<uid>.slice:cri-containerd:<id>`.
    let last = component.rsplit(':').next().unwrap_or(component);
    let name = last.strip_suffix(".scope").unwrap_or(last);
    let (runtime, id) = name.split_at_checked(name.len().checked_sub(CONTAINER_ID)?)?;
    let known = runtime.is_empty() || runtime.ends_with('-') && !runtime.ends_with("conmon-");
    (known && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))).then_some(id)
}

/// The uid of the Kubernetes pod, with dashes as the API server writes it. Static pods have one without.
pub fn pod_uid(path: &str) -> Option<Cow<'_, str>> {
    components(path).rev().find_map(pod_of)
}

fn pod_of(component: &str) -> Option<Cow<'_, str>> {
    let first = component.split(':').next().unwrap_or(component);
    let uid = match first.strip_suffix(".slice") {
        Some(slice) => {
            let (before, uid) = slice.rsplit_once("-pod")?;
            before.starts_with("kube").then_some(uid)?
        }
        None => first.strip_prefix("pod")?,
    };
    let groups_of_digits = |separator| {
        let mut parts = uid.split(separator);
        let sized =
            [8, 4, 4, 4, 12].into_iter().all(|digits| parts.next().is_some_and(|part| is_hex(part, digits)));
        sized && parts.next().is_none()
    };
    if is_hex(uid, 32) || groups_of_digits('-') {
        return Some(Cow::Borrowed(uid));
    }
    // In the name of a slice a dash is a step down (systemd.slice(5)), so the kubelet writes `_`.
    groups_of_digits('_').then(|| Cow::Owned(uid.replace('_', "-")))
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn components(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    // The kernel says so of a group that has been removed under a process that is ending (cgroups(7)).
    path.strip_suffix(" (deleted)").unwrap_or(path).split('/').filter(|component| !component.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f1c0a5e9b7d2468ace013579bdf02468ace013579bdf02468ace013579bdf02";
    const INNER: &str = "aaaabbbbccccddddeeeeffff0000111122223333444455556666777788889999";
    const UID: &str = "2b2e7a4c-0d1f-4c6e-9f00-8d1a7b3c5e6f";

    /// The longer names first, for "ID" is part of them.
    fn fill(path: &str) -> String {
        let slice_uid = UID.replace('-', "_");
        path.replace("SLICEUID", &slice_uid).replace("UID", UID).replace("INNER", INNER).replace("ID", ID)
    }

    #[test]
    fn b1_units() {
        for (path, want) in [
            ("/", None),
            ("", None),
            ("/init.scope", Some("init.scope")),
            ("/system.slice/ssh.service", Some("ssh.service")),
            ("/system.slice/ssh.service (deleted)", Some("ssh.service")),
            ("/system.slice/system-getty.slice/getty@tty1.service", Some("getty@tty1.service")),
            (
                "/system.slice/system-postgresql.slice/postgresql@16-main.service",
                Some("postgresql@16-main.service"),
            ),
            ("/system.slice/dev-hugepages.mount", Some("dev-hugepages.mount")),
            ("/system.slice/_cpu.service", Some("cpu.service")),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/app-firefox.scope",
                Some("user@1000.service"),
            ),
            ("/user.slice/user-1000.slice/session-3.scope", Some("session-3.scope")),
            ("/user.slice/user-1000.slice", None),
            ("/system.slice", None),
            ("/docker/ID", None),
            ("/docker/ID/system.slice/nginx.service", Some("nginx.service")),
            ("/lxc.payload.web/system.slice/nginx.service", Some("nginx.service")),
            ("/../../system.slice/cron.service", Some("cron.service")),
            (
                "/machine.slice/systemd-nspawn@a.service/payload/system.slice/x.service",
                Some("systemd-nspawn@a.service"),
            ),
            ("/system.slice/.service", None),
            ("/system.slice/@x.service", None),
            ("/system.slice/a b.service", None),
            (
                "/system.slice/containerd.service/kubepods-podUID.slice:cri-containerd:ID",
                Some("containerd.service"),
            ),
        ] {
            assert_eq!(unit(&fill(path)), want, "{path}");
        }
        assert_eq!(unit(&format!("/{}.service", "x".repeat(UNIT_MAX))), None);
    }

    #[test]
    fn containers() {
        for (path, want) in [
            ("/docker/ID", Some(ID)),
            ("/docker/ID/init.scope", Some(ID)),
            ("/system.slice/docker-ID.scope", Some(ID)),
            ("/system.slice/docker-ID.scope (deleted)", Some(ID)),
            ("/kubepods/burstable/podUID/ID", Some(ID)),
            ("/kubepods/podUID/ID", Some(ID)),
            (
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podSLICEUID.slice/cri-containerd-ID.scope",
                Some(ID),
            ),
            (
                "/system.slice/containerd.service/kubepods-burstable-podSLICEUID.slice:cri-containerd:ID",
                Some(ID),
            ),
            ("/kubepods.slice/kubepods-podSLICEUID.slice/crio-ID.scope", Some(ID)),
            ("/kubepods.slice/kubepods-podSLICEUID.slice/crio-ID.scope/container", Some(ID)),
            ("/kubepods.slice/kubepods-podSLICEUID.slice/crio-conmon-ID.scope", None),
            ("/kubepods/podUID/crio-ID", Some(ID)),
            ("/machine.slice/libpod-ID.scope/container", Some(ID)),
            ("/machine.slice/libpod-conmon-ID.scope", None),
            ("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope", Some(ID)),
            ("/libpod_parent/libpod-ID", Some(ID)),
            ("/libpod_parent/conmon-ID", None),
            ("/system.slice/nerdctl-ID.scope", Some(ID)),
            ("/default/ID", Some(ID)),
            ("/ecs/0123456789abcdef0123456789abcdef/ID", Some(ID)),
            ("/docker/ID/kubelet/kubepods/podUID/INNER", Some(INNER)),
            ("/docker/ID/machine.slice/libpod-conmon-INNER.scope", Some(ID)),
            ("/system.slice/ID.service", None),
            ("/docker/IDa", None),
            ("/docker/buildkit/0l2aqq8uuxzmw4q7b1qb1jtml", None),
            ("/system.slice/docker.service", None),
            ("/", None),
        ] {
            assert_eq!(container_id(&fill(path)), want, "{path}");
        }
        assert_eq!(container_id(&format!("/docker/{}", ID.to_uppercase())), None);
        assert_eq!(container_id(&format!("/docker/é{}", &ID[1..])), None);
    }

    #[test]
    fn pods() {
        for (path, want) in [
            (format!("/kubepods/burstable/pod{UID}/{ID}"), Some(UID)),
            (
                format!(
                    "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{}.slice/cri-containerd-{ID}.scope",
                    UID.replace('-', "_")
                ),
                Some(UID),
            ),
            (
                format!(
                    "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{}.slice",
                    UID.replace('-', "_")
                ),
                Some(UID),
            ),
            (
                format!(
                    "/system.slice/containerd.service/kubepods-pod{}.slice:cri-containerd:{ID}",
                    UID.replace('-', "_")
                ),
                Some(UID),
            ),
            (format!("/kubepods/pod{}", &ID[..32]), Some(&ID[..32])),
            ("/machine.slice/machine-libpod_pod_0123.slice".into(), None),
            (format!("/system.slice/x-pod{UID}.slice"), None),
            ("/system.slice/podman.service".into(), None),
            ("/".into(), None),
        ] {
            assert_eq!(pod_uid(&path).as_deref(), want, "{path}");
        }
    }
}
