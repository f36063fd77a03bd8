# frozen_string_literal: true

require "fileutils"
require_relative "python"

module Transfer
  # Removes the files of this gem in `TRANSFER_HOME`. Other files there are kept, links are removed and not followed.
  module Uninstall
    autoload :Users, "#{__dir__}/uninstall/users"
    # By kind, the names in `TRANSFER_HOME`.
    FILES = { "environment" => %w[env env.before setup.log], "cache" => %w[cache],
              "downloaded weights" => %w[weights], "settings" => %w[trusted measurements.json],
              "runs" => %w[runs] }.freeze
    KEPT = "runs"
    private_constant :Users, :FILES, :KEPT

    # Files of one kind: their paths, and their size in bytes.
    Part = ::Data.define(:name, :paths, :bytes)

    class << self
      # @param all [Boolean] true: runs, with their models, as well
      # @return [Array<Part>] the files that there are
      def parts(all: false)
        FILES.filter_map do |name, files|
          next if name == KEPT && !all

          paths = files.map { |file| File.join(Python.home, file) }.select { |path| there?(path) }
          Part.new(name, paths, paths.sum { |path| size(path) }) if paths.any?
        end
      end

      # @param parts [Array<Part>]
      # @return [void]
      # @raise [ConfigurationError] if a process uses them; nothing is removed then
      def remove(parts)
        users = Users.all
        if users.any?
          raise ConfigurationError, "#{Python.home} is in use by process #{users.join(', ')}. " \
                                    "Fix: end the programs that use Transfer, and run transfer worker stop"
        end
        parts.flat_map(&:paths).each { |path| FileUtils.remove_entry_secure(path) }
        Dir.rmdir(Python.home) if Dir.exist?(Python.home) && Dir.empty?(Python.home)
      end

      private

      def there?(path) = File.exist?(path) || File.symlink?(path)

      # Without following links.
      def size(path)
        stat = File.lstat(path)
        return stat.size unless stat.directory?

        Dir.each_child(path).sum { |name| size(File.join(path, name)) }
      rescue Errno::ENOENT
        0
      end
    end
  end
end
