/* tests/lib/ocsp_data.h: a CA, another one, and certificates of the first: what the OCSP responses of tests/data/ocsp are about.
 * Made once, valid from 2020 to 2120; the keys are gone. "good" and "revoked" are called that by the responses, of "unknown"
 * the responder knows nothing. "delegate" answers are signed by a responder that the CA made for it, "trusted" by one of
 * the other CA. */
#ifndef COFFER_TEST_OCSP_DATA_H
#define COFFER_TEST_OCSP_DATA_H

#define OCSP_AT_S 1800000000

#define OCSP_CA \
    "-----BEGIN CERTIFICATE-----\n" \
    "MIIBVjCB/qADAgECAgIQCjAKBggqhkjOPQQDAjASMRAwDgYDVQQDDAdUZXN0IENB\n" \
    "MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjASMRAwDgYDVQQDDAdU\n" \
    "ZXN0IENBMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE6zgX7OEOXOknvO/EZXYC\n" \
    "yJ5XiZCKK/u6K3qpL78NiOp1gA0OBxyrkEC0xk5vtCXsuFHNA7B9MdHKg14x3kiR\n" \
    "w6NCMEAwDwYDVR0TAQH/BAUwAwEB/zAdBgNVHQ4EFgQUnCk5OA2H2Z30wg6gFNeA\n" \
    "fcwBS5QwDgYDVR0PAQH/BAQDAgGGMAoGCCqGSM49BAMCA0cAMEQCID3UbNNEqkci\n" \
    "hGNfcV5EcCLo7BBBpNA0CXBfjSqlZI1CAiAMpnjPFgF6YOCicP3j5rqfEftbsjW6\n" \
    "BughXBS84aYjwA==\n" \
    "-----END CERTIFICATE-----\n"

#define OCSP_OTHER_CA \
    "-----BEGIN CERTIFICATE-----\n" \
    "MIIBWzCCAQCgAwIBAgICEAswCgYIKoZIzj0EAwIwEzERMA8GA1UEAwwIT3RoZXIg\n" \
    "Q0EwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBMxETAPBgNVBAMM\n" \
    "CE90aGVyIENBMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEDIGsdwdRs/dtjwmr\n" \
    "xQxbCnOtktAofJZFpixCdrWIRP7d6sMEDoJdFWrJnY99f2+SMeX4DrsGvg2XdfTt\n" \
    "JPPJXKNCMEAwDwYDVR0TAQH/BAUwAwEB/zAdBgNVHQ4EFgQURqLK2nKceIjQg55s\n" \
    "VdLr50TGZr8wDgYDVR0PAQH/BAQDAgGGMAoGCCqGSM49BAMCA0kAMEYCIQDK06UF\n" \
    "kXYmuSzso5fE3qjYNDjUoh3JjkgAfOlTk42pWwIhAJZdeV6Cz0UqKH00vEa0FJdH\n" \
    "WEocXNdYm3vh30lfYgns\n" \
    "-----END CERTIFICATE-----\n"

#define OCSP_GOOD \
    "-----BEGIN CERTIFICATE-----\n" \
    "MIIBdzCCAR2gAwIBAgIBATAKBggqhkjOPQQDAjASMRAwDgYDVQQDDAdUZXN0IENB\n" \
    "MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAPMQ0wCwYDVQQDDARn\n" \
    "b29kMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEK6QZsZP5Yv38i7T6/ZGikgdE\n" \
    "fOHM/N/VhnER9lOFBPymVLFOa2Z4cxXFl4Cm8ZjBJfB+L5Q6zY+vd2xgRlMHKaNl\n" \
    "MGMwDAYDVR0TAQH/BAIwADAdBgNVHQ4EFgQUALYyyay1saBzCt0LWIdBFe3hmMow\n" \
    "HwYDVR0jBBgwFoAUnCk5OA2H2Z30wg6gFNeAfcwBS5QwEwYDVR0lBAwwCgYIKwYB\n" \
    "BQUHAwIwCgYIKoZIzj0EAwIDSAAwRQIgO97eN6bNyIC1toj6h+lw2OgGP3AnFc1k\n" \
    "mfq7dQrAN5wCIQCQCDuoB1hbYvRWhhuLUCZS036H6H8VkLa70mrih/NBXw==\n" \
    "-----END CERTIFICATE-----\n"

#define OCSP_REVOKED \
    "-----BEGIN CERTIFICATE-----\n" \
    "MIIBejCCASCgAwIBAgIBAjAKBggqhkjOPQQDAjASMRAwDgYDVQQDDAdUZXN0IENB\n" \
    "MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjASMRAwDgYDVQQDDAdy\n" \
    "ZXZva2VkMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEcCH7qPXgFLHn1jOhVv6t\n" \
    "gk1XxOxKiiKZ7+tJJBAFqZczqW9ASiGjbWCso5iLl1nnik0Q8QJlO2edNJ6RqKzl\n" \
    "P6NlMGMwDAYDVR0TAQH/BAIwADAdBgNVHQ4EFgQUDuwGOXJY0pgRDfJ3+TDptXbn\n" \
    "eUswHwYDVR0jBBgwFoAUnCk5OA2H2Z30wg6gFNeAfcwBS5QwEwYDVR0lBAwwCgYI\n" \
    "KwYBBQUHAwIwCgYIKoZIzj0EAwIDSAAwRQIgLDxbRgzMflQY+7pHcY8aJh1hsNSK\n" \
    "ggVIzuBdpeSmSBkCIQCy6xts2P3dj/wdzcJnTWbey3beGGH+CgEJp889nagRcQ==\n" \
    "-----END CERTIFICATE-----\n"

#define OCSP_UNKNOWN \
    "-----BEGIN CERTIFICATE-----\n" \
    "MIIBejCCASCgAwIBAgIBAzAKBggqhkjOPQQDAjASMRAwDgYDVQQDDAdUZXN0IENB\n" \
    "MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjASMRAwDgYDVQQDDAd1\n" \
    "bmtub3duMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEgtLq4h10KyyIlz22dTry\n" \
    "qCo5clo2AegxHYfKMiMht9CmhOE/LXTLeOJMC8aUmActLXCOuG/W2s3h+ucfryAp\n" \
    "iaNlMGMwDAYDVR0TAQH/BAIwADAdBgNVHQ4EFgQUaOib8XuCnfCzhaZ32YvKwNiQ\n" \
    "tJUwHwYDVR0jBBgwFoAUnCk5OA2H2Z30wg6gFNeAfcwBS5QwEwYDVR0lBAwwCgYI\n" \
    "KwYBBQUHAwIwCgYIKoZIzj0EAwIDSAAwRQIgLGyBtksqM9DV9j+SRM+5OUP0YpLJ\n" \
    "UkRcXMPjKw4IOlgCIQDN8cKLpwHzGDwuXnTVtDl5gv/7mw6EiZap5wTe+dioRQ==\n" \
    "-----END CERTIFICATE-----\n"

#endif
