# frozen_string_literal: true

require "fileutils"
require "securerandom"

module Transfer
  # Atomic file replacement. A link is replaced, its target is not touched.
  module Replacement
    NEW = File::WRONLY | File::CREAT | File::EXCL | File::NOFOLLOW | File::BINARY
    private_constant :NEW

    class << self
      # @param path [String]
      # @param bytes [String]
      # @return [void]
      # @raise [ConfigurationError] if the file can't be written
      def write(path, bytes)
        temporary = File.join(File.dirname(path), ".transfer-#{SecureRandom.hex(8)}.tmp")
        File.open(temporary, NEW) do |file|
          file.write(bytes)
          mode_of_own(path)&.then { |mode| file.chmod(mode) }
          file.fsync
        end
        File.rename(temporary, path)
      rescue SystemCallError => error
        raise ConfigurationError, "can't save to #{path}: #{error.class.new.message}", cause: nil
      ensure
        FileUtils.rm_f(temporary)
      end

      private

      # Permissions stay if a file of the same user is replaced.
      def mode_of_own(path)
        stat = File.lstat(path)
        stat.mode & 0o777 if stat.file? && stat.owned?
      rescue Errno::ENOENT
        nil
      end
    end
  end
  private_constant :Replacement
end
