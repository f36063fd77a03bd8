# frozen_string_literal: true

require "shellwords"

module Transfer
  # Ownership and permissions of kept files. As in sshd, only files that no other user could write are believed;
  # `python/transfer_core/runtime/permissions.py` is the same for the training core.
  module Permissions
    # Write permission of group and others.
    OTHERS = 0o022

    class << self
      # @param paths [Array<String>] from the outermost directory inwards
      # @return [String, nil] the first path that another user owns or can write, with the command that fixes it; nil if
      #   all paths are private or absent
      def exposure(*paths)
        paths.each do |path|
          found = link_of_another_user(path) || problem(File.realpath(path))
          return found if found
        end
        nil
      rescue SystemCallError
        nil
      end

      # @return [Integer] the umask of this process; `File.umask` changes it for a moment, for all threads.
      def umask
        File.read("/proc/self/status")[/^Umask:\s*(\d+)/, 1]&.oct || File.umask
      rescue SystemCallError
        File.umask
      end

      private

      def link_of_another_user(path)
        stat = File.lstat(path)
        return if !stat.symlink? || ours?(stat)

        "#{path} is a link that belongs to user #{stat.uid}. Fix: rm #{path.shellescape}"
      end

      def problem(path)
        stat = File.stat(path)
        if !ours?(stat)
          "#{path} belongs to user #{stat.uid}, not to user #{Process.euid}. " \
            "Fix: chown -R #{Process.euid} #{path.shellescape}"
        elsif stat.mode.anybits?(OTHERS)
          format("%s can be written by other users (mode %04o). Fix: chmod -R go-w %s", path, stat.mode & 0o7777,
                 path.shellescape)
        end
      end

      def ours?(stat) = [Process.euid, 0].include?(stat.uid)
    end
  end
  private_constant :Permissions
end
