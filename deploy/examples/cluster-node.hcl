# Node n1 of a cluster of three. n2 and n3 differ in node_id, api_addr, cluster_addr and the two
# retry_join blocks, which name the other nodes. Initialise one of them; the others join by themselves.
ui           = true
cluster_name = "datacenter-a"
api_addr     = "https://n1.example.com:8200"
cluster_addr = "https://n1.example.com:8201"
log_level    = "info"

storage "raft" {
  path    = "/var/lib/coffer"
  node_id = "n1"
  retry_join {
    leader_api_addr     = "https://n2.example.com:8200"
    leader_ca_cert_file = "/etc/coffer/tls/ca.pem"
  }
  retry_join {
    leader_api_addr     = "https://n3.example.com:8200"
    leader_ca_cert_file = "/etc/coffer/tls/ca.pem"
  }
}

# The certificate is for clients. Nodes and clusters prove themselves to each other on the cluster port
# with certificates that they make themselves: let port 8201 through, and let nothing end TLS on the way.
listener "tcp" {
  address         = "0.0.0.0:8200"
  cluster_address = "0.0.0.0:8201"
  tls_cert_file   = "/etc/coffer/tls/node.pem"
  tls_key_file    = "/etc/coffer/tls/node.key"
  tls_min_version = "tls12"
}
