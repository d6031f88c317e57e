//! Capabilities: none, in no set, for good.
//!
//! The bounding set limits what an exec could give, the ambient set what it would keep, the secure bits
//! what uid 0 would mean. With all of them empty and locked, and `no_new_privs` on top, neither a
//! set-user-id file nor uid 0 of a namespace brings anything back.

use rustix::thread::{CapabilitiesSecureBits, CapabilitySet, CapabilitySets};

use crate::layers::Enforcement;
use crate::protocol::{JailFailure, Step};
use crate::sys::credentials::drop_from_bounding_set;

/// Drops everything and reads it back.
pub(super) fn drop_all() -> Result<Enforcement, JailFailure> {
    let failed = |detail: &'static str| {
        move |error: rustix::io::Errno| JailFailure::new(Step::Capabilities, detail, &error.into())
    };
    let before = rustix::thread::capabilities(None).map_err(failed("read capabilities"))?;
    // A change of user id without a user namespace keeps the permitted set and clears the effective one.
    let raised = CapabilitySets {
        effective: before.permitted,
        ..before
    };
    rustix::thread::set_capabilities(None, raised).map_err(failed("raise capabilities"))?;
    // Without CAP_SETPCAP (an ordinary user without a user namespace) the bounding set and the secure
    // bits stay as they are; no_new_privs keeps them from mattering.
    let may_lock = before.permitted.contains(CapabilitySet::SETPCAP);
    if may_lock {
        empty_bounding_set()?;
        let locked = CapabilitiesSecureBits::NO_ROOT
            | CapabilitiesSecureBits::NO_ROOT_LOCKED
            | CapabilitiesSecureBits::NO_SETUID_FIXUP
            | CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED
            | CapabilitiesSecureBits::KEEP_CAPS_LOCKED
            | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
            | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED;
        rustix::thread::set_capabilities_secure_bits(locked)
            .map_err(failed("lock the secure bits"))?;
    }
    rustix::thread::clear_ambient_capability_set().map_err(failed("clear the ambient set"))?;
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, none).map_err(failed("empty the capability sets"))?;
    let after = rustix::thread::capabilities(None).map_err(failed("read capabilities back"))?;
    if after != none {
        return Err(JailFailure::refused(
            Step::Capabilities,
            "capabilities are left",
        ));
    }
    if may_lock {
        Ok(Enforcement::Full)
    } else {
        Ok(Enforcement::Partial(
            "the bounding set and the secure bits stay, since there is no user namespace"
                .to_owned(),
        ))
    }
}

fn empty_bounding_set() -> Result<(), JailFailure> {
    for capability in 0..64 {
        match drop_from_bounding_set(capability) {
            Ok(()) => {}
            // The kernel's last capability is behind us.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) && capability > 36 => break,
            Err(error) => {
                let detail = format!("drop capability {capability} from the bounding set");
                return Err(JailFailure::new(Step::Capabilities, detail, &error));
            }
        }
    }
    Ok(())
}
