//! Names of wheels, and which of them an interpreter can use.
//!
//! The rules are those of the specification "Platform compatibility tags". The
//! interpreter tells its version, its ABI flags, the machine and the C library;
//! everything else follows, so that no list of tags is kept and none is asked
//! of a tool that may be missing.

use super::requirement::normalized;
use serde::Serialize;

/// What an interpreter says of itself that decides which wheels it can use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WheelSupport {
    /// The minor version of Python 3.
    pub minor: u32,
    /// Letters such as `t` of a build without the global lock.
    pub abi_flags: String,
    /// The machine, as `x86_64`.
    pub machine: String,
    /// The C library's family and version.
    pub library: CLibrary,
}

/// A C library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum CLibrary {
    /// glibc, of which wheels ask for at least some version.
    Glibc(u32, u32),
    /// musl; wheels ask for at least some version of it, too.
    Musl(u32, u32),
}

/// The longest name of a file, in bytes.
const NAME: usize = 255;

/// The name of a wheel's file, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WheelName {
    /// The project, normalized.
    pub(crate) name: String,
    /// Its version.
    pub(crate) version: String,
    build: String,
    python: Vec<String>,
    abi: Vec<String>,
    platform: Vec<String>,
}

impl WheelName {
    /// Takes a file's name apart; none for what is not a wheel's. A name that no
    /// file system takes is not one, so that the number of its tags is small.
    pub(crate) fn parse(file: &str) -> Option<Self> {
        if file.len() > NAME {
            return None;
        }
        let parts: Vec<&str> = file.strip_suffix(".whl")?.split('-').collect();
        let (name, version, build, tags) = match parts.as_slice() {
            [name, version, tags @ ..] if tags.len() == 3 => (name, version, "", tags),
            [name, version, build, tags @ ..] if tags.len() == 3 => (name, version, *build, tags),
            _ => return None,
        };
        let set = |tags: &str| tags.split('.').map(str::to_owned).collect();
        Some(Self {
            name: normalized(name),
            version: (*version).to_owned(),
            build: build.to_owned(),
            python: set(tags[0]),
            abi: set(tags[1]),
            platform: set(tags[2]),
        })
    }

    /// How well the interpreter can use it, more being better; none if not.
    pub(crate) fn fitness(&self, support: &WheelSupport) -> Option<Fitness> {
        let own_abi = format!("cp3{}{}", support.minor, support.abi_flags);
        let codes = self.python.iter().flat_map(|python| {
            let abis = self.abi.iter();
            abis.filter_map(|abi| code_fitness(support, &own_abi, python, abi))
        });
        let platforms = self.platform.iter();
        let platforms = platforms.filter_map(|platform| platform_fitness(support, platform));
        Some((codes.max()?, platforms.max()?, self.build.clone()))
    }
}

/// Of code, of platform, of the build.
pub(crate) type Fitness = (u32, u32, String);

fn code_fitness(support: &WheelSupport, own_abi: &str, python: &str, abi: &str) -> Option<u32> {
    let minor = |prefix: &str| -> Option<u32> { python.strip_prefix(prefix)?.parse().ok() };
    Some(match (minor("cp3"), abi) {
        (Some(version), abi) if version == support.minor && abi == own_abi => 10_000,
        (Some(version), "abi3")
            if version <= support.minor && version >= 2 && support.abi_flags.is_empty() =>
        {
            5_000 + version
        }
        (Some(version), "none") if version == support.minor => 4_000,
        (None, "none") if python == "py3" => 1,
        (None, "none") => minor("py3").filter(|version| *version <= support.minor)? + 2,
        _ => return None,
    })
}

fn platform_fitness(support: &WheelSupport, platform: &str) -> Option<u32> {
    if platform == "any" {
        return Some(0);
    }
    let of_machine = platform
        .strip_suffix(support.machine.as_str())?
        .strip_suffix('_')?;
    // The older names of three versions of glibc.
    let of_machine = match of_machine {
        "linux" => return Some(1),
        "manylinux1" => "manylinux_2_5",
        "manylinux2010" => "manylinux_2_12",
        "manylinux2014" => "manylinux_2_17",
        other => other,
    };
    let (family, version) = match support.library {
        CLibrary::Glibc(major, minor) => ("manylinux_", (major, minor)),
        CLibrary::Musl(major, minor) => ("musllinux_", (major, minor)),
    };
    let (major, minor) = of_machine.strip_prefix(family)?.split_once('_')?;
    let asked: (u32, u32) = (major.parse().ok()?, minor.parse().ok()?);
    (asked.0 == version.0 && asked.1 <= version.1).then_some(2 + asked.1)
}

/// Whether two spellings are one version, as far as files and locks differ in
/// them: case, and zeros at the end of the numbers.
pub(crate) fn is_same_version(one: &str, other: &str) -> bool {
    fn plain(version: &str) -> String {
        let version = version.to_ascii_lowercase().replace('_', "+");
        let end = version
            .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
            .unwrap_or(version.len());
        let (release, rest) = version.split_at(end);
        let mut release = release;
        while let Some(shorter) = release.strip_suffix(".0") {
            release = shorter;
        }
        format!("{release}{rest}")
    }
    plain(one) == plain(other)
}

#[cfg(test)]
mod tests {
    use super::{CLibrary, WheelName, WheelSupport, is_same_version};

    fn debian() -> WheelSupport {
        WheelSupport {
            minor: 11,
            abi_flags: String::new(),
            machine: "x86_64".to_owned(),
            library: CLibrary::Glibc(2, 36),
        }
    }

    #[test]
    fn an_interpreter_takes_what_was_built_for_it() {
        for (tags, fits) in [
            (
                "cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64",
                true,
            ),
            ("cp311-cp311-manylinux2014_x86_64", true),
            ("cp311-cp311-manylinux_2_36_x86_64", true),
            ("cp311-cp311-manylinux_2_37_x86_64", false),
            ("cp311-cp311-manylinux_2_17_aarch64", false),
            ("cp311-cp311-musllinux_1_2_x86_64", false),
            ("cp311-cp311-macosx_11_0_x86_64", false),
            ("cp311-cp311-win_amd64", false),
            ("cp311-cp311-linux_x86_64", true),
            ("cp312-cp312-manylinux2014_x86_64", false),
            ("cp310-cp310-manylinux2014_x86_64", false),
            ("cp311-cp311t-manylinux2014_x86_64", false),
            ("cp38-abi3-manylinux2014_x86_64", true),
            ("cp312-abi3-manylinux2014_x86_64", false),
            ("pp311-pypy311_pp73-manylinux2014_x86_64", false),
            ("py3-none-any", true),
            ("py2.py3-none-any", true),
            ("py2-none-any", false),
            ("py311-none-any", true),
            ("py312-none-any", false),
            ("cp311-none-any", true),
            ("cp310-none-any", false),
            ("py3-none-manylinux2014_x86_64", true),
        ] {
            let name = WheelName::parse(&format!("a_b-1.0-{tags}.whl")).expect("a wheel's name");
            assert_eq!(name.name, "a-b");
            assert_eq!(name.fitness(&debian()).is_some(), fits, "{tags}");
        }
        let long = "any.".repeat(60) + "any";
        assert!(WheelName::parse(&format!("a-1.0-py3-none-{}.whl", &long[..200])).is_some());
        assert_eq!(
            WheelName::parse(&format!("a-1.0-py3-none-{long}.whl")),
            None
        );
    }

    #[test]
    fn the_nearest_of_several_is_taken() {
        let order = [
            "py3-none-any",
            "cp38-abi3-manylinux2014_x86_64",
            "cp39-abi3-manylinux2014_x86_64",
            "cp311-cp311-manylinux2014_x86_64",
            "cp311-cp311-manylinux_2_28_x86_64",
            "1-cp311-cp311-manylinux_2_28_x86_64",
        ];
        let fitness: Vec<_> = order
            .iter()
            .map(|tags| {
                WheelName::parse(&format!("a-1.0-{tags}.whl"))
                    .expect("a wheel's name")
                    .fitness(&debian())
                    .expect("it fits")
            })
            .collect();
        assert!(fitness.is_sorted(), "{fitness:?}");
    }

    #[test]
    fn what_is_no_wheel_has_no_name() {
        for file in [
            "a-1.0.tar.gz",
            "a.whl",
            "a-1.0-py3-none.whl",
            "a-1-2-3-4-5-6.whl",
            ".whl",
        ] {
            assert_eq!(WheelName::parse(file), None, "{file}");
        }
    }

    #[test]
    fn versions_are_compared_as_far_as_spellings_differ() {
        assert!(is_same_version("1.0", "1.0.0"));
        assert!(is_same_version("2.0RC1", "2.0rc1"));
        assert!(is_same_version("1.0+cpu", "1.0_cpu"));
        assert!(!is_same_version("1.0", "1.0.1"));
        assert!(!is_same_version("1.0rc1", "1.0"));
        assert!(!is_same_version("10", "1"));
    }
}
