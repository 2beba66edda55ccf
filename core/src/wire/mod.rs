//! What goes over the socket: frames, Noise, certificates, binary nodes, JIDs. Pure; knows nothing of the engine.
