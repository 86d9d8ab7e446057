//! Inputs of many clients at once: connections that come and go, logins that wait, and the end of the server.

use std::{
    io::{self, BufReader, Read, Write},
    net::TcpStream,
};

use rustix::process::Signal;

use crate::{
    Case,
    common::{client, configured::PASSWORD},
    world::{MOST_SESSIONS, USER, World, eventually, reply},
};

pub(crate) const CASES: &[Case] = &[
    Case::new("sessions at once", |world, size| {
        for _ in 0..3 {
            let sessions = (0..size.min(MOST_SESSIONS)).map(|_| TcpStream::connect(world.server.pop3));
            let sessions = sessions.collect::<io::Result<Vec<_>>>()?;
            drop(sessions);
        }
        world.watched(0)
    }),
    Case::new("sessions at once, each greeted", |world, size| {
        let mut sessions = greeted(world, size)?;
        send(&mut sessions, "CAPA\r\nNOOP\r\nQUIT\r\n")?;
        drop(sessions);
        world.watched(0)
    }),
    Case::new("logins that wait", waiting_logins).with(|setup, _| {
        setup.limits = format!("auth.queue_size = {MOST_SESSIONS}");
    }),
    Case::new("logins that do not fit", waiting_logins).with(|setup, size| {
        setup.limits = format!("auth.queue_size = {}", size.min(MOST_SESSIONS) / 2);
    }),
    Case::new("stop", |world, size| {
        let mut sessions = greeted(world, size)?;
        world.signal(Signal::TERM)?;
        sessions.iter_mut().try_for_each(|session| session.read_to_end(&mut Vec::new()).map(drop))?;
        // The server waits two seconds for the clients' ends, and publishes its figures meanwhile.
        *world.held.borrow_mut() = sessions;
        Ok(())
    }),
];

fn waiting_logins(world: &World, size: usize) -> io::Result<()> {
    let mut sessions = greeted(world, size)?;
    send(&mut sessions, &format!("USER {USER}\r\nPASS not {PASSWORD}\r\n"))?;
    eventually("logins that wait", || {
        let waiting = world.figure("restante_queue{queue=\"passwords\"}")?;
        Ok((waiting as usize > size.min(MOST_SESSIONS) / 4).then_some(()))
    })?;
    drop(sessions);
    world.watched(0)
}

fn greeted(world: &World, size: usize) -> io::Result<Vec<BufReader<TcpStream>>> {
    let connect = |_| client::connect(world.server.pop3, 128);
    let mut sessions = (0..size.min(MOST_SESSIONS)).map(connect).collect::<io::Result<Vec<_>>>()?;
    sessions.iter_mut().try_for_each(|session| reply(session).map(drop))?;
    Ok(sessions)
}

fn send(sessions: &mut [BufReader<TcpStream>], commands: &str) -> io::Result<()> {
    sessions.iter_mut().try_for_each(|session| session.get_mut().write_all(commands.as_bytes()))
}
