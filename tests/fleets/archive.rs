//! A template to make containers of: busybox and what it needs to come up.

use std::path::Path;

/// A busybox system that comes up and stays, with further files.
pub(crate) fn template(path: &Path, files: &[(&str, &str, u32)]) {
    let mut archive = tar::Builder::new(std::fs::File::create(path).expect("a file"));
    for name in ["bin", "sbin", "etc", "proc", "sys", "dev", "tmp", "var", "var/lib", "root", "srv"] {
        add(&mut archive, name, tar::EntryType::Directory, 0o755, &[], None);
    }
    let busybox = std::fs::read("/bin/busybox").expect("busybox");
    add(&mut archive, "bin/busybox", tar::EntryType::Regular, 0o755, &busybox, None);
    for name in ["sh", "sleep", "cat", "ls", "id", "nc", "touch", "stat", "true", "false", "hostname", "env", "mkdir", "echo", "kill"] {
        add(&mut archive, &format!("bin/{name}"), tar::EntryType::Symlink, 0o777, &[], Some("busybox"));
    }
    add(&mut archive, "sbin/init", tar::EntryType::Symlink, 0o777, &[], Some("../bin/busybox"));
    add(&mut archive, "etc/inittab", tar::EntryType::Regular, 0o644, b"::sysinit:/bin/true\n", None);
    add(&mut archive, "dev/zero", tar::EntryType::Char, 0o666, &[], None);
    for (name, text, mode) in files {
        add(&mut archive, name, tar::EntryType::Regular, *mode, text.as_bytes(), None);
    }
    archive.finish().expect("an archive");
}

fn add(archive: &mut tar::Builder<std::fs::File>, name: &str, kind: tar::EntryType, mode: u32, bytes: &[u8], link: Option<&str>) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(bytes.len() as u64);
    header.set_uid(0);
    header.set_gid(0);
    if let Some(link) = link {
        header.set_link_name(link).expect("a link");
    }
    archive.append_data(&mut header, name, bytes).expect("an entry");
}
