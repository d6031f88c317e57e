//! A jail on its own, for supervisors whose own `main` cannot begin with `enter_if_asked`, such as a
//! test harness: pass its path to `Spawner::with_executable`.

fn main() {
    magic_sandbox::enter_if_asked();
}
