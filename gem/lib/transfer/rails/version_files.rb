# frozen_string_literal: true

require "digest"
require "fileutils"
require "securerandom"
require "tmpdir"

module Transfer
  module Rails
    # Files of versions on this machine, named by their digest.
    module VersionFiles
      class << self
        # Keeps a file that was trained here.
        # @param trained [Transfer::Model]
        # @return [String] path
        def keep(trained)
          FileUtils.mkdir_p(folder)
          part = File.join(folder, "#{SecureRandom.hex(8)}.transfer")
          trained.save(part)
          path = path_of(sha256(part))
          File.rename(part, path)
          path
        ensure
          FileUtils.rm_f(part) if part
        end

        # @param version [Version]
        # @return [String] path of its file, downloaded if this machine has not got it
        # @raise [Transfer::ModelFileError] if the content is not the one that was published
        def fetch(version)
          path = path_of(version.sha256)
          return path if File.file?(path)

          FileUtils.mkdir_p(folder)
          part = "#{path}.#{SecureRandom.hex(8)}"
          File.open(part, "wb", 0o600) { |io| version.file.download { |chunk| io.write(chunk) } }
          unless sha256(part) == version.sha256
            raise ModelFileError, "the attached file of #{version.model.name} #{version.number} is not the one that " \
                                  "was published: its SHA-256 differs. Fix: promote another version"
          end

          File.rename(part, path)
          path
        ensure
          FileUtils.rm_f(part) if part
        end

        # @param trained [Transfer::Model]
        # @return [ActiveStorage::Blob, nil] the page of {Model#report}; nil if it can't be written, as without Jinja
        def report(trained)
          Dir.mktmpdir("transfer-report") do |folder|
            trained.report(File.join(folder, "report.html")).open("rb") do |io|
              ActiveStorage::Blob.create_and_upload!(io:, filename: "report.html", content_type: "text/html")
            end
          end
        rescue Error => error
          ::Rails.logger.warn("transfer: no report of the version: #{error.message}")
          nil
        end

        # @param path [String]
        # @return [String]
        def sha256(path) = Digest::SHA256.file(path).hexdigest

        private

        def path_of(sha256) = File.join(folder, "#{sha256[/\A\h{64}\z/]}.transfer")
        def folder = File.join(Transfer.config.home, "versions")
      end
    end
  end
end
