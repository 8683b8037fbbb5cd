#include "block/http/libcurl.h"

#include "base/shared_library.h"

namespace doppel::block::http {

Result<std::shared_ptr<const Libcurl>> Libcurl::load() {
  DOPPEL_ASSIGN(const SharedLibrary library, SharedLibrary::load("libcurl-gnutls.so.4", "HTTP", "libcurl3-gnutls"));
  auto curl = std::make_shared<Libcurl>();
  DOPPEL_TRY(library.find("curl_global_init", curl->global_init));
  DOPPEL_TRY(library.find("curl_easy_init", curl->easy_init));
  DOPPEL_TRY(library.find("curl_easy_cleanup", curl->easy_cleanup));
  DOPPEL_TRY(library.find("curl_easy_setopt", curl->easy_setopt));
  DOPPEL_TRY(library.find("curl_easy_getinfo", curl->easy_getinfo));
  DOPPEL_TRY(library.find("curl_easy_perform", curl->easy_perform));
  DOPPEL_TRY(library.find("curl_easy_strerror", curl->easy_strerror));
  DOPPEL_TRY(library.find("curl_multi_init", curl->multi_init));
  DOPPEL_TRY(library.find("curl_multi_cleanup", curl->multi_cleanup));
  DOPPEL_TRY(library.find("curl_multi_setopt", curl->multi_setopt));
  DOPPEL_TRY(library.find("curl_multi_add_handle", curl->multi_add_handle));
  DOPPEL_TRY(library.find("curl_multi_remove_handle", curl->multi_remove_handle));
  DOPPEL_TRY(library.find("curl_multi_socket_action", curl->multi_socket_action));
  DOPPEL_TRY(library.find("curl_multi_info_read", curl->multi_info_read));
  if (curl->global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) return fail(ErrorKind::kInternal, "libcurl does not start");
  return curl;
}

}  // namespace doppel::block::http
