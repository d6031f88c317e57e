//! What the program sees of file systems and descriptors.

use std::os::unix::fs::PermissionsExt;

use magic_sandbox::{Descriptors, Ended, Identity, Level, Scratch, Step};

use crate::support::{HOST_ID, null, plan, run, run_outside, spawner};

#[test]
fn nothing_of_the_host_is_there() {
    let code = "
import os
for path in ['/proc', '/proc/self', '/sys', '/root', '/home', '/var', '/etc/shadow', '/dev/tty', '/dev/kmsg', '/dev/mem',
             '/dev/fuse', '/dev/kvm', '/dev/net/tun', '/dev/shm', '/dev/console', '/run', '/sys/fs/cgroup', '/.old']:
    if os.path.lexists(path):
        print(path)
print(open('/etc/passwd').read().strip())
";
    let outcome = run(&plan(code), None);
    assert_eq!(
        outcome.stdout, "inside:x:1000:1000::/:/nonexistent\n",
        "{}",
        outcome.stderr
    );
}

#[test]
fn nothing_is_writable() {
    let code = "
import os, sys
def attempt(name, action):
    try:
        action()
        print('written', name)
    except OSError as error:
        pass
for folder in ['/', '/tmp', '/usr', '/usr/lib/python3', '/etc', '/dev', os.getcwd()]:
    path = os.path.join(folder, 'x')
    attempt(path, lambda: open(path, 'w'))
    attempt(path + ' directory', lambda: os.mkdir(path))
    attempt(path + ' link', lambda: os.symlink('a', path))
    attempt(path + ' pipe', lambda: os.mkfifo(path))
    attempt(path + ' nameless', lambda: os.open(folder, os.O_TMPFILE | os.O_WRONLY))
attempt('rename', lambda: os.rename('/etc/passwd', '/etc/passwd2'))
attempt('remove', lambda: os.unlink('/etc/passwd'))
attempt('chmod', lambda: os.chmod('/etc/passwd', 0o777))
attempt('append', lambda: open('/etc/passwd', 'a'))
attempt('truncate', lambda: os.truncate('/etc/passwd', 0))
attempt('times', lambda: os.utime('/etc/passwd'))
open('/dev/null', 'w').write('fine')
print('done')
";
    let outcome = run(&plan(code), None);
    assert_eq!(outcome.stdout, "done\n", "{}", outcome.stderr);
}

#[test]
fn only_the_given_descriptors_are_open() {
    let code = "
import os
for number in range(3, 2000):
    try:
        os.fstat(number)
        print(number)
    except OSError:
        pass
";
    assert_eq!(run(&plan(code), None).stdout, "");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let confined = spawner()
        .spawn(
            &plan("import os; os.write(3, b'three')"),
            Descriptors::new(null(), null(), null()).and(writer.into()),
            None,
        )
        .expect("the program starts");
    assert_eq!(confined.pidfd.wait().expect("it ends"), Ended::Exited(0));
    assert_eq!(std::io::read_to_string(reader).expect("its words"), "three");
}

#[test]
fn the_process_is_as_bare_as_promised() {
    let code = "
import os, resource, ctypes, signal
libc = ctypes.CDLL(None)
print(os.getpid(), os.getppid(), os.getuid(), os.getgid(), os.getgroups())
print(sorted(os.environ), os.getcwd(), oct(os.umask(0)))
print(resource.getrlimit(resource.RLIMIT_CORE), resource.getrlimit(resource.RLIMIT_NOFILE))
print(os.getsid(0) == os.getpid(), libc.prctl(39, 0, 0, 0, 0), libc.prctl(27, 0, 0, 0, 0))
print([signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGHUP)] == [signal.SIG_DFL] * 2, signal.pthread_sigmask(signal.SIG_BLOCK, []))
import socket
try:
    os.open('/dev/tty', os.O_RDWR)
except OSError:
    print('no terminal')
";
    let outcome = run(&plan(code), None);
    // 0xef: NOROOT, NO_SETUID_FIXUP, KEEP_CAPS locked off, NO_CAP_AMBIENT_RAISE, each with its lock.
    let expected = "1 0 1000 1000 []\n['LANG'] / 0o77\n(1, 1) (256, 256)\nTrue 1 239\nTrue set()\nno terminal\n";
    assert_eq!(outcome.stdout, expected, "{}", outcome.stderr);
}

/// The mapped identity cannot traverse the way to the source, and need not.
#[test]
fn sources_below_private_directories_are_shown() {
    let folder = tempfile::tempdir().expect("a directory");
    let private = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(folder.path(), private).expect("its mode");
    let shown = folder.path().join("shown");
    std::fs::create_dir(&shown).expect("a directory");
    std::fs::write(shown.join("file"), "content").expect("a file");
    std::fs::set_permissions(&shown, std::fs::Permissions::from_mode(0o755)).expect("its mode");
    let mut plan = plan("print(open('/shown/file').read())");
    plan.root = plan.root.bind_at(&shown, "/shown");
    let outcome = run(&plan, None);
    assert_eq!(outcome.stdout, "content\n", "{}", outcome.stderr);
}

/// A device node of the host's that is bound as data is no device any more.
#[test]
fn devices_in_binds_are_inert() {
    let code = "print(open('/nodes/zero', 'rb').read(1))";
    assert_eq!(
        run_outside("print(open('/dev/zero', 'rb').read(1))"),
        "b'\\x00'\n"
    );
    let mut plan = plan(code);
    plan.root = plan.root.bind_at("/dev", "/nodes");
    let outcome = run(&plan, None);
    assert!(outcome.stderr.contains("PermissionError"), "{outcome:?}");
}

#[test]
fn a_missing_source_names_the_step_and_leaves_nothing() {
    let mut plan = plan("print('never')");
    plan.root = plan.root.bind("/no/such/source");
    let descriptors = Descriptors::new(null(), null(), null());
    let error = spawner()
        .spawn(&plan, descriptors, None)
        .expect_err("the source is missing");
    assert_eq!(error.step(), Some(Step::OpenSources), "{error:?}");
    assert!(error.advice().is_some());
}

#[test]
fn a_missing_program_names_the_step() {
    let mut plan = plan("");
    plan.program = "/usr/bin/no-such-program".into();
    let descriptors = Descriptors::new(null(), null(), null());
    let error = spawner()
        .spawn(&plan, descriptors, None)
        .expect_err("the program is missing");
    assert_eq!(error.step(), Some(Step::Landlock), "{error:?}");
    assert!(
        error
            .advice()
            .is_some_and(|advice| advice.contains("program"))
    );
}

#[test]
fn host_root_is_never_mapped() {
    for (host_uid, host_gid) in [(0, HOST_ID), (HOST_ID, 0)] {
        let mut plan = plan("print('never')");
        plan.identity = Identity::Mapped { host_uid, host_gid };
        let descriptors = Descriptors::new(null(), null(), null());
        let error = spawner()
            .spawn(&plan, descriptors, None)
            .expect_err("root is refused");
        assert_eq!(error.step(), Some(Step::Identity), "{error:?}");
    }
}

/// One directory can be lent for writing: plain files and folders go there, within its size and number,
/// and nothing else does.
#[test]
fn a_lent_directory_takes_files_within_its_limits() {
    let code = "
import errno, os
def attempt(name, action, *allowed):
    try:
        action()
        print('did', name)
    except OSError as error:
        print(name, errno.errorcode[error.errno])
os.mkdir('/tmp/folder')
open('/tmp/folder/one', 'w').write('text')
os.rename('/tmp/folder/one', '/tmp/two')
print(open('/tmp/two').read(), oct(os.stat('/tmp').st_mode & 0o777))
attempt('link', lambda: os.symlink('/etc/passwd', '/tmp/link'))
attempt('hard link', lambda: os.link('/tmp/two', '/tmp/three'))
attempt('pipe', lambda: os.mkfifo('/tmp/pipe'))
attempt('device', lambda: os.mknod('/tmp/device', 0o600 | 0o020000, os.makedev(1, 3)))
attempt('program', lambda: os.execv('/tmp/two', ['two']))
attempt('beside', lambda: open('/x', 'w'))
attempt('too large', lambda: open('/tmp/large', 'wb').write(bytes(2 << 20)))
os.unlink('/tmp/large')
def many():
    for number in range(1000):
        open(f'/tmp/{number}', 'w')
attempt('too many', many)
";
    let mut lent = plan(code);
    lent.root
        .directories
        .retain(|path| path != std::path::Path::new("/tmp"));
    lent.root = lent.root.scratch(Scratch {
        path: "/tmp".into(),
        size_bytes: 1 << 20,
        inodes: 64,
    });
    let outcome = run(&lent, None);
    assert_eq!(
        outcome.stdout,
        "text 0o700\nlink EPERM\nhard link EPERM\npipe EPERM\ndevice EPERM\nprogram EPERM\nbeside EROFS\n\
         too large ENOSPC\ntoo many ENOSPC\n",
        "{}",
        outcome.stderr
    );
}

/// The same without the filter: Landlock alone keeps everything but plain files out.
#[test]
fn landlock_alone_keeps_links_and_pipes_out_of_a_lent_directory() {
    let code = "
import errno, os
for name, action in [('link', lambda: os.symlink('/etc/passwd', '/tmp/link')), ('pipe', lambda: os.mkfifo('/tmp/pipe'))]:
    try:
        action()
        print('did', name)
    except OSError as error:
        print(name, errno.errorcode[error.errno])
";
    let lend = |landlock| {
        let mut lent = plan(code);
        lent.root
            .directories
            .retain(|path| path != std::path::Path::new("/tmp"));
        lent.root = lent.root.scratch(Scratch {
            path: "/tmp".into(),
            size_bytes: 1 << 20,
            inodes: 64,
        });
        lent.layers.seccomp = Level::Off;
        lent.layers.landlock = landlock;
        run(&lent, None).stdout
    };
    assert_eq!(lend(Level::Required), "link EACCES\npipe EACCES\n");
    assert_eq!(lend(Level::Off), "did link\ndid pipe\n");
}
