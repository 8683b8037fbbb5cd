#include "tools/img/session.h"

namespace doppel::img {

Result<> Session::add_object(std::string_view text) {
  // But for JSON, the first word is the type.
  const std::size_t comma = text.find(',');
  const bool is_json = text.starts_with('{');
  const std::string_view pairs = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
  DOPPEL_ASSIGN(block::NodeOptions options, block::NodeOptions::parse(is_json ? text : pairs));
  const std::string type = is_json ? options.text_or("qom-type", "") : std::string(text.substr(0, comma));
  options.erase("qom-type");
  const std::string id = options.text_or("id", "");
  if (id.empty()) return fail(ErrorKind::kInvalidArgument, "--object {} needs id=", type);
  options.erase("id");
  return graph_.add_object(type, id, options.texts());
}

Result<OpenImage> OpenImage::open(Session& session, OpenRequest request) {
  const std::string filename = request.filename;
  request.graph = &session.graph();
  if (!request.nodes) {
    const block::ImageOptions& options = request;
    DOPPEL_ASSIGN(block::NodePtr node, session.run(block::open_image(session.context(), options)));
    return OpenImage(session, std::move(node), filename);
  }
  const block::OpenRules rules{.file = request.file,
                               .metadata_only = request.metadata_only,
                               .repairing = request.repairing,
                               .backing = request.backing};
  DOPPEL_ASSIGN(block::NodePtr node, session.run(session.graph().open(std::move(*request.nodes), rules, filename)));
  return OpenImage(session, std::move(node), filename);
}

Result<OpenRequest> file_image_options(const Arguments& arguments, const std::string& filename, bool writable,
                                       std::string_view cache, std::string_view default_cache) {
  DOPPEL_ASSIGN(const block::CacheMode mode, block::parse_cache_mode(arguments.value_or(cache, default_cache)));
  OpenRequest options;
  options.filename = filename;
  options.format = arguments.value_or("f", "");
  options.file = block::file_options(mode, writable);
  if (arguments.has("U")) options.file.locking = block::FileLocking::kOff;
  return options;
}

Result<OpenRequest> image_options(const Arguments& arguments, const std::string& filename, bool writable,
                                  std::string_view cache, std::string_view default_cache) {
  DOPPEL_ASSIGN(OpenRequest options, file_image_options(arguments, filename, writable, cache, default_cache));
  if (!arguments.has("image-opts")) return options;
  if (arguments.has("f")) return fail(ErrorKind::kInvalidArgument, "--image-opts and -f exclude each other");
  DOPPEL_ASSIGN(options.nodes, block::NodeOptions::parse(filename));
  return options;
}

Result<std::string> only_filename(const Arguments& arguments, std::string_view what) {
  if (arguments.rest().size() == 1) return arguments.rest()[0];
  return fail(ErrorKind::kInvalidArgument, "expecting one {}, not {}", what, arguments.rest().size());
}

}  // namespace doppel::img
