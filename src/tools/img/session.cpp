#include "tools/img/session.h"

namespace doppel::img {

Result<block::ImageOptions> image_options(const Arguments& arguments, const std::string& filename, bool writable,
                                          std::string_view cache, std::string_view default_cache) {
  DOPPEL_ASSIGN(const block::CacheMode mode, block::parse_cache_mode(arguments.value_or(cache, default_cache)));
  block::ImageOptions options{.filename = filename, .format = arguments.value_or("f", "")};
  options.file = block::file_options(mode, writable);
  if (arguments.has("U")) options.file.locking = block::FileLocking::kOff;
  return options;
}

Result<std::string> only_filename(const Arguments& arguments, std::string_view what) {
  if (arguments.rest().size() == 1) return arguments.rest()[0];
  return fail(ErrorKind::kInvalidArgument, "expecting one {}, not {}", what, arguments.rest().size());
}

}  // namespace doppel::img
