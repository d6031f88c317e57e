//! A connection that can be cut: what comes to one port goes to another, unless somebody has pulled the plug.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Forwards connections until it is dropped.
pub(super) struct Wire {
    port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    is_cut: bool,
    open: Vec<TcpStream>,
}

impl State {
    fn close(&mut self) {
        for stream in self.open.drain(..) {
            // The other side may have closed it already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Wire {
    pub(super) fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // Refused where the other end is gone, and dropped where the wire is cut.
                let _ = connect(&shared, stream, target);
            }
        });
        Self { port, state }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Ends every connection, and every new one at once.
    pub(super) fn cut(&self) {
        let mut state = self.state.lock().expect("no panic");
        state.is_cut = true;
        state.close();
    }

    /// Lets new ones through again.
    pub(super) fn mend(&self) {
        self.state.lock().expect("no panic").is_cut = false;
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.cut();
    }
}

fn connect(state: &Mutex<State>, near: TcpStream, target: u16) -> io::Result<()> {
    let mut state = state.lock().expect("no panic");
    if state.is_cut {
        return Ok(());
    }
    let far = TcpStream::connect(("127.0.0.1", target))?;
    for (from, to) in [(&near, &far), (&far, &near)] {
        let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
        std::thread::spawn(move || {
            // Whichever side ends first, the other one follows.
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    state.open.extend([near, far]);
    Ok(())
}
