//! ClientPayload checks, success and failure, replaced connections (transport §5, §9, §12).

use amarula_core::crypto::PublicKey;
use amarula_core::crypto::hash::md5;
use amarula_core::wire::{Jid, Node, Server as Domain};

use super::conn::Role;
use super::{AccountId, ConnId, DeviceKey, Server};
use crate::proto::{ClientPayload, UserAgent};
use crate::violation::Rule;

impl Server {
    pub(crate) fn login(&mut self, conn: ConnId, noise: PublicKey, payload: &ClientPayload) {
        let revision = self.check_common(conn, payload);
        if let Some((reason, attrs)) = self.faults.login_failure.take() {
            return self.failure(conn, reason, &attrs);
        }
        if let Some(code) = self.faults.login_stream_error.take() {
            return self.stream_error(conn, Node::new("stream:error").attr("code", u32::from(code)));
        }
        if revision < self.config.min_revision {
            return self.failure(conn, 405, &[]);
        }
        if payload.username.is_none() {
            return self.registration(conn, noise, payload);
        }
        let username = payload.username.unwrap_or_default().to_string();
        let device = u16::try_from(payload.device.unwrap_or_default()).unwrap_or(u16::MAX);
        if payload.pairing.is_some() {
            self.object(Some(conn), None, Rule::Payload, None, "a login payload carries devicePairingData");
        }
        if payload.pull != Some(true) {
            self.object(Some(conn), None, Rule::Payload, None, "pull must be true at login");
        }
        if payload.passive.is_none() {
            self.object(Some(conn), None, Rule::Payload, None, "passive must be written at login");
        }
        if device == 0 {
            self.object(Some(conn), None, Rule::Payload, None, "login without a companion's device id");
            return self.failure(conn, 400, &[]);
        }
        let Some(account) = self.accounts.iter().find(|(_, account)| account.pn == username).map(|(id, _)| *id) else {
            return self.failure(conn, 401, &[]);
        };
        let key = (account, device);
        match self.companion(key).map(|companion| companion.noise) {
            None => self.failure(conn, 401, &[]),
            Some(known) if known != noise => {
                self.object(Some(conn), Some(key), Rule::Payload, None, "login with another noise key than at pairing");
                self.failure(conn, 401, &[]);
            }
            Some(_) => self.logged_in(conn, key, payload),
        }
    }

    fn logged_in(&mut self, conn: ConnId, key: DeviceKey, payload: &ClientPayload) {
        if std::mem::take(&mut self.faults.first_login_401) {
            self.remove_companion(key);
            return self.failure(conn, 401, &[]);
        }
        let profile = self.profile_on(conn);
        let Some(companion) = self.companion_mut(key) else { return };
        companion.profile = profile;
        let previous = companion.login_counter;
        companion.login_counter = payload.lc.or(previous);
        companion.logged_in = true;
        companion.available = false;
        if payload.push_name.is_some() {
            companion.app_push_name.clone_from(&payload.push_name);
        }
        let old = companion.conn.replace(conn);
        if let (Some(previous), Some(now)) = (previous, payload.lc)
            && now < previous
        {
            self.object(Some(conn), Some(key), Rule::Payload, None, format!("lc went back: {previous} to {now}"));
        }
        if let Some(old) = old {
            let replaced = Node::new("stream:error").child(Node::new("conflict").attr("type", "replaced"));
            self.send(old, &replaced);
            if let Some(companion) = self.companion_mut(key) {
                companion.outbox.disconnected();
            }
            self.close(old);
            if let Some(companion) = self.companion_mut(key) {
                companion.conn = Some(conn);
            }
        }
        let passive = payload.passive != Some(false);
        if let Some(state) = self.conns.get_mut(&conn) {
            state.role = Role::Device(key);
        }
        let Some(lid) = self.accounts.get(&key.0).map(|account| account.device_jid(&Domain::Lid, key.1)) else {
            return;
        };
        let success = Node::new("success")
            .attr("t", self.now.secs())
            .attr("props", 27)
            .attr("location", "sim")
            .attr("abprops", 1)
            .attr("creation", self.now.secs())
            .attr("lid", lid);
        self.send(conn, &success);
        if let Some(info) = self.config.edge_routing.clone() {
            let routing = Node::new("edge_routing").child(Node::new("routing_info").bytes(info));
            self.send(conn, &Node::new("ib").attr("from", Jid::server()).child(routing));
        }
        if !passive {
            self.activate(conn, key);
        }
    }

    /// Refuses a login, and closes (transport §12.2).
    pub(crate) fn failure(&mut self, conn: ConnId, reason: u16, attrs: &[(String, String)]) {
        let node = Node::new("failure").attr("reason", u32::from(reason)).attr("location", "sim");
        let node = attrs.iter().fold(node, |node, (key, value)| node.attr(key.as_str(), value.as_str()));
        self.send(conn, &node);
        self.close(conn);
    }

    fn check_common(&mut self, conn: ConnId, payload: &ClientPayload) -> u32 {
        let default = UserAgent::default();
        let agent = payload.user_agent.as_ref().unwrap_or(&default);
        let version = agent.app_version.unwrap_or_default();
        let country = agent.country.as_deref().unwrap_or_default();
        let language = agent.language.as_deref().unwrap_or_default();
        let checks = [
            (payload.user_agent.is_some(), "no userAgent"),
            (agent.platform == Some(14), "platform is not WEB (14)"),
            (version.primary == Some(2) && version.secondary == Some(3000), "appVersion is not 2.3000.x"),
            (version.tertiary.is_some_and(|revision| revision > 0), "appVersion has no revision"),
            (agent.phone_id.is_none(), "phoneId must never be set"),
            (agent.release_channel == Some(0), "releaseChannel RELEASE must be written"),
            (agent.mcc.as_deref() == Some("000") && agent.mnc.as_deref() == Some("000"), "mcc and mnc are not 000"),
            (agent.os_version.as_ref().is_some_and(|text| !text.is_empty()), "no osVersion"),
            (agent.device.as_ref().is_some_and(|text| !text.is_empty()), "no device"),
            (country.len() == 2 && country.bytes().all(|b| b.is_ascii_uppercase()), "no ISO 3166 country"),
            (language.len() == 2 && language.bytes().all(|b| b.is_ascii_lowercase()), "no ISO 639 language"),
            (payload.web_info.is_some_and(|info| info.sub_platform.is_some()), "webSubPlatform must be written"),
            (payload.connect_type == Some(1), "connectType is not WIFI_UNKNOWN"),
            (payload.connect_reason == Some(1), "connectReason is not USER_ACTIVATED"),
        ];
        for (ok, detail) in checks {
            if !ok {
                self.object(Some(conn), None, Rule::Payload, None, detail);
            }
        }
        version.tertiary.unwrap_or_default()
    }

    /// Checks a registration payload's parts (transport §5.3); `Err` ends the connection.
    pub(crate) fn check_registration(
        &mut self,
        conn: ConnId,
        payload: &ClientPayload,
    ) -> Result<super::pairing::Material, ()> {
        let Some(data) = payload.pairing.clone() else {
            self.object(Some(conn), None, Rule::Payload, None, "neither username nor devicePairingData");
            return Err(());
        };
        let version = payload.user_agent.as_ref().and_then(|agent| agent.app_version).unwrap_or_default();
        let text = format!(
            "{}.{}.{}",
            version.primary.unwrap_or_default(),
            version.secondary.unwrap_or_default(),
            version.tertiary.unwrap_or_default()
        );
        let lenient = self.is_lenient_on(conn);
        let material = super::pairing::Material::read(&data);
        let registration_id = material.as_ref().map(|material| material.registration_id).unwrap_or_default();
        let checks = [
            (payload.device.is_none(), "a registration carries a device id"),
            (payload.passive == Some(false) && payload.pull == Some(false), "passive and pull must be written, false"),
            (data.build_hash.as_deref() == Some(&md5(text.as_bytes())[..]), "buildHash is not the MD5 of the version"),
            (data.e_keytype.as_deref() == Some(&[5][..]), "eKeytype is not 05"),
            (lenient || registration_id != 0, "registration id 0"),
        ];
        for (ok, detail) in checks {
            if !ok {
                self.object(Some(conn), None, Rule::Payload, None, detail);
            }
        }
        material.map_err(|detail| self.object(Some(conn), None, Rule::Payload, None, detail))
    }

    /// Ends a device's life: what "remove" on the phone or logout does.
    pub(crate) fn remove_companion(&mut self, key: DeviceKey) {
        let conn = self.companion(key).and_then(|companion| companion.conn);
        if let Some(conn) = conn {
            let conflict = Node::new("conflict").attr("type", "device_removed");
            self.send(conn, &Node::new("stream:error").attr("code", 401).child(conflict));
            self.close(conn);
        }
        let now = self.now.secs();
        if let Some(account) = self.accounts.get_mut(&key.0) {
            account.companions.remove(&key.1);
            account.list_changed = now.max(account.list_changed + 1);
            let lid = account.lid.clone();
            account.phone.endpoint.forget(&(lid, key.1));
        }
        self.announce_remove(key);
    }

    /// The phone unlinks a companion.
    pub fn unlink(&mut self, now: crate::SimTime, account: AccountId, device: u16) {
        self.advance(now);
        if self.device_exists((account, device)) && device != 0 {
            self.remove_companion((account, device));
        }
    }
}
