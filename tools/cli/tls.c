/* tools/cli/tls.c: certificate options of libcurl handles. */
#include "tools/cli/tls.h"

void tls_apply(const struct tls_options *options, CURL *curl)
{
    (void)curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (options->ca_cert != NULL) {
        (void)curl_easy_setopt(curl, CURLOPT_CAINFO, options->ca_cert);
    }
    if (options->ca_path != NULL) {
        (void)curl_easy_setopt(curl, CURLOPT_CAPATH, options->ca_path);
    }
    if (options->client_cert != NULL) {
        (void)curl_easy_setopt(curl, CURLOPT_SSLCERT, options->client_cert);
    }
    if (options->client_key != NULL) {
        (void)curl_easy_setopt(curl, CURLOPT_SSLKEY, options->client_key);
    }
    if (options->skip_verify) {
        (void)curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
        (void)curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
    }
}
