#include "block/crypto/crypt_node.h"

#include <algorithm>

#include "base/bits.h"

namespace doppel::block {

namespace {

constexpr std::size_t kSector = SectorCipher::kSector;
constexpr std::size_t kPiece = kMiB;

}  // namespace

std::unexpected<Error> key_is_missing(std::string_view option) {
  return fail(ErrorKind::kPermissionDenied,
              "it is encrypted; give its password by '{0}=sec0' and an object 'secret,id=sec0,file=FILE'", option);
}

Task<Result<>> CryptNode::read(std::uint64_t offset, IoView to) {
  if (!cipher_) co_return key_is_missing("key-secret");
  std::vector<std::byte> bytes(std::min(align_up(to.size(), kSector) + kSector, kPiece));
  for (std::size_t done = 0; done < to.size();) {
    const std::uint64_t begin = align_down(offset + done, std::uint64_t{kSector});
    const auto skip = static_cast<std::size_t>(offset + done - begin);
    const std::size_t length = std::min(to.size() - done, bytes.size() - skip);
    const std::span<std::byte> sectors(bytes.data(), align_up(skip + length, kSector));
    DOPPEL_CO_TRY(co_await below_.read(start_ + begin, sectors));
    cipher_->decrypt(begin / kSector, sectors);
    to.slice(done, length).copy_from(bytes.data() + skip);
    done += length;
  }
  co_return Result<>{};
}

Task<Result<>> CryptNode::write_sectors(std::uint64_t offset, IoView from) {
  std::vector<std::byte> bytes(std::min(from.size(), kPiece));
  for (std::size_t done = 0; done < from.size();) {
    const std::span<std::byte> sectors(bytes.data(), std::min(from.size() - done, bytes.size()));
    from.slice(done, sectors.size()).copy_to(bytes.data());
    cipher_->encrypt((offset + done) / kSector, sectors);
    DOPPEL_CO_TRY(co_await below_.write(start_ + offset + done, sectors));
    done += sectors.size();
  }
  co_return Result<>{};
}

Task<Result<>> CryptNode::write(std::uint64_t offset, IoView from) {
  if (!cipher_) co_return key_is_missing("key-secret");
  if (offset % kSector == 0 && from.size() % kSector == 0) {
    const auto guard = co_await sectors_.lock_shared();
    co_return co_await write_sectors(offset, from);
  }
  const auto guard = co_await sectors_.lock();
  const std::uint64_t begin = align_down(offset, std::uint64_t{kSector});
  std::vector<std::byte> bytes(align_up(offset + from.size(), std::uint64_t{kSector}) - begin);
  const std::span<std::byte> all(bytes);
  DOPPEL_CO_TRY(co_await read(begin, all));
  from.copy_to(bytes.data() + (offset - begin));
  co_return co_await write_sectors(begin, all);
}

Task<Result<>> CryptNode::write_zeroes(std::uint64_t offset, std::uint64_t length, Unmap /*unmap*/) {
  const std::vector<std::byte> zeroes(std::min<std::uint64_t>(length, kPiece));
  while (length > 0) {
    const auto piece = static_cast<std::size_t>(std::min<std::uint64_t>(length, zeroes.size()));
    const IoView part = IoView(std::span<const std::byte>(zeroes)).slice(0, piece);
    DOPPEL_CO_TRY(co_await write(offset, part));
    offset += piece;
    length -= piece;
  }
  co_return Result<>{};
}

/// What are zeroes or holes below are something else here.
Task<Result<BlockStatus>> CryptNode::block_status(std::uint64_t /*offset*/, std::uint64_t length) {
  co_return BlockStatus{.bytes = length, .allocated = true, .data = true};
}

Task<Result<NodePtr>> LuksNode::open(NodePtr file, const std::optional<SecretBytes>& key, bool metadata_only) {
  DOPPEL_CO_ASSIGN(LuksHeader header, co_await read_luks(*file, 0));
  std::optional<SectorCipher> cipher;
  if (key) {
    DOPPEL_CO_ASSIGN(cipher, co_await unlock_luks(*file, 0, header, *key));
  } else if (!metadata_only) {
    co_return key_is_missing("key-secret");
  }
  co_return NodePtr(new LuksNode(std::move(file), std::move(header), std::move(cipher)));
}

Result<> LuksNode::check_range(std::uint64_t offset, std::uint64_t length) const {
  if (offset <= size() && length <= size() - offset) return {};
  return fail(ErrorKind::kOutOfRange, "{} bytes at offset {} go beyond the end of the disk of {} bytes", length, offset,
              size());
}

Task<Result<>> LuksNode::write(std::uint64_t offset, IoView from) {
  DOPPEL_CO_TRY(check_range(offset, from.size()));
  co_return co_await crypt_.write(offset, from);
}

Task<Result<>> LuksNode::write_zeroes(std::uint64_t offset, std::uint64_t length, Unmap unmap) {
  DOPPEL_CO_TRY(check_range(offset, length));
  co_return co_await crypt_.write_zeroes(offset, length, unmap);
}

NodeInfo LuksNode::info() const {
  NodeInfo info = file_->info();
  info.format = "luks";
  info.virtual_size = size();
  info.encrypted = true;
  info.details = luks_details(header_);
  return info;
}

}  // namespace doppel::block
