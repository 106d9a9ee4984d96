//! What a client does, one deed a function: the call, and what may have come of it where it was not acknowledged.

use std::time::Instant;

use serde_json::json;

use super::client::{AWAY, Client, Done, NOTE, is_answered};
use super::model::Container;
use super::points::Ports;
use crate::garden::{ContainerSpec, PortMapping, ProcessSpec};

/// A client asks for no more ports of one container: those of all have to fit into the node's.
const MOST_PORTS: usize = 3;

impl Client {
    pub(super) fn create(&mut self, ports: Ports) -> Done {
        let handle = format!("client-{}-{}", self.number, self.random.below(4));
        if self.containers.iter().any(|container| container.handle == handle) {
            return Ok(());
        }
        let with_port = ports == Ports::All || (ports == Ports::Some && self.random.once_in(3));
        let mapping = PortMapping {
            host_port: 0,
            container_port: 80,
        };
        let spec = ContainerSpec {
            handle: handle.clone(),
            netin: if with_port { vec![mapping] } else { Vec::new() },
            ..ContainerSpec::default()
        };
        let asked = Instant::now();
        let answer = self.garden.create(&spec);
        if !self.note(&format!("create {handle}"), &answer) && answer.as_ref().is_err_and(is_answered) {
            return Ok(());
        }
        let Some(shown) = self.look(&handle)? else {
            return match answer {
                Ok(_) => Err(format!("{handle} was acknowledged and is not there")),
                Err(_) => Ok(()),
            };
        };
        let (image, now) = (&shown.image, Instant::now());
        if !self.shared.images.may_be(image, asked, now) {
            return Err(format!("{handle} is made of {image}, which was not configured then"));
        }
        let container = Container {
            handle,
            instance: shown.instance.clone(),
            ports: shown.ports(),
            ..Container::default()
        };
        if container.ports.len() != usize::from(with_port) {
            return Err(format!("{} has the ports {:?}", container.handle, container.ports));
        }
        self.compare(&container)?;
        self.containers.push(container);
        Ok(())
    }

    pub(super) fn destroy(&mut self, container: Container) -> Done {
        let handle = &container.handle;
        let answer = self.garden.destroy(handle);
        if self.note(&format!("destroy {handle}"), &answer) {
            return match self.look(handle)? {
                Some(_) => Err(format!("{handle} was destroyed and is there")),
                None => Ok(()),
            };
        }
        // Whoever finishes it, it can be asked for again until it is gone.
        let deadline = Instant::now() + AWAY;
        while self.look(handle)?.is_some() {
            if Instant::now() > deadline {
                return Err(format!("{handle} cannot be destroyed: {:?}", self.log.back()));
            }
            let again = self.garden.destroy(handle);
            self.note(&format!("destroy {handle} again"), &again);
        }
        Ok(())
    }

    pub(super) fn start(&mut self, mut container: Container, command: &[&str]) -> Done<Container> {
        let handle = container.handle.clone();
        let target = format!("/fence/v1/containers/{handle}/start");
        let in_vain = command[0].starts_with('/');
        let body = json!({ "command": command });
        let answer = self.garden.call("POST", &target, Some(&body));
        if self.note(&format!("start {handle} {command:?}"), &answer) {
            (container.stopped, container.started) = (false, true);
            return Ok(container);
        }
        let may_run = !in_vain && !answer.as_ref().is_err_and(is_answered);
        let before = container.clone();
        let container = self.look_again(container)?;
        let as_before = (container.stopped, container.started) == (before.stopped, before.started);
        let runs = !container.stopped && container.started;
        if as_before || (may_run && runs) {
            return Ok(container);
        }
        Err(format!(
            "{before:?} is {container:?} after a start that was not acknowledged"
        ))
    }

    pub(super) fn stop(&mut self, mut container: Container) -> Done<Container> {
        let handle = container.handle.clone();
        let kill = self.random.once_in(2);
        let answer = self.garden.stop(&handle, kill);
        if self.note(&format!("stop {handle} {kill}"), &answer) {
            (container.stopped, container.started) = (true, false);
            container.sleepers.clear();
            return Ok(container);
        }
        let deadline = Instant::now() + AWAY;
        let before = container.started;
        let mut container = self.look_again(container)?;
        // The end of main stops the container as soon as the daemon has heard of it.
        while before && !container.started && !container.stopped {
            if Instant::now() > deadline {
                return Err(format!("{handle} is active although its main has ended"));
            }
            container = self.look_again(container)?;
        }
        Ok(container)
    }

    pub(super) fn net_in(&mut self, mut container: Container) -> Done<Container> {
        let handle = container.handle.clone();
        if container.ports.len() >= MOST_PORTS {
            return Ok(container);
        }
        let answer = self.garden.net_in(&handle, 0, 81);
        if self.note(&format!("net in {handle}"), &answer) {
            let port = answer.map_err(|error| error.to_string())?;
            let [host, inside] = [port.host_port, port.container_port].map(|port| u16::try_from(port).unwrap_or(0));
            container.ports.insert(host, inside);
            return Ok(container);
        }
        let before = container.ports.clone();
        let container = self.look_again(container)?;
        let kept = before
            .iter()
            .all(|(host, inside)| container.ports.get(host) == Some(inside));
        if !kept || container.ports.len() > before.len() + 1 {
            return Err(format!(
                "the ports of {handle} are {:?} after {before:?}",
                container.ports
            ));
        }
        Ok(container)
    }

    pub(super) fn property(&mut self, mut container: Container) -> Done<Container> {
        let value = self.fresh("note");
        let answer = self.garden.set_property(&container.handle, NOTE, &value);
        if self.note(&format!("set {} {value}", container.handle), &answer) {
            container.note = Some(value);
            return Ok(container);
        }
        let before = container.note.clone();
        let container = self.look_again(container)?;
        if container.note != before && container.note.as_ref() != Some(&value) {
            return Err(format!("the note is {:?} after {before:?} and {value}", container.note));
        }
        Ok(container)
    }

    pub(super) fn sleep(&mut self, mut container: Container) -> Done<Container> {
        let id = self.fresh("sleep");
        let spec = ProcessSpec {
            id: id.clone(),
            ..ProcessSpec::new("sleep", &["1000"])
        };
        let answer = self.garden.run(&container.handle, &spec);
        if self.note(&format!("sleep {} {id}", container.handle), &answer) {
            container.sleepers.insert(id);
            return Ok(container);
        }
        self.look_again(container)
    }
}
