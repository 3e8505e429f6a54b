# What to add to a node's configuration so that it unseals itself after a restart: 32 random bytes in
# base64, made once with `head -c 32 /dev/urandom | base64` and given to every node of the cluster.
# Whoever has this file and the node's disk has the secrets: keep it on another disk, or let the service
# manager hand it over (LoadCredentialEncrypted= in coffer.service).
seal "static" {
  current_key_id = "2026-1"
  current_key    = "file:///run/credentials/coffer.service/seal-key"
}
