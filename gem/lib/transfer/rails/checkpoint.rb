# frozen_string_literal: true

require "digest"
require "fileutils"
require "rubygems/package"
require "zlib"

module Transfer
  module Rails
    # The folder of an interrupted training as an attachment, so that another machine resumes it.
    module Checkpoint
      # Larger folders stay on their machine.
      MOST_BYTES = 4 * (2**30)

      class << self
        # @param run [Run] with `core_run`
        # @return [void]
        def upload(run)
          folder = folder_of(run.core_run)
          return unless folder && File.directory?(folder)

          Tempfile.create("transfer-checkpoint", binmode: true) do |file|
            pack(folder, file)
            file.rewind
            run.update!(checkpoint_sha256: Digest::SHA256.file(file.path).hexdigest)
            run.checkpoint.attach(io: file, filename: "#{run.core_run}.tar", content_type: "application/x-tar")
          end
        end

        # Unpacks the attachment where this machine lacks the folder.
        # @param run [Run]
        # @return [String, nil] the folder to resume from; nil without a folder and an attachment
        # @raise [Transfer::DataError] if the attachment is not the one that was uploaded
        def restore(run)
          folder = folder_of(run.core_run) or return
          return folder if File.directory?(folder)
          return unless run.checkpoint.attached?

          Tempfile.create("transfer-checkpoint", binmode: true) do |file|
            run.checkpoint.download { |chunk| file.write(chunk) }
            file.flush
            unless Digest::SHA256.file(file.path).hexdigest == run.checkpoint_sha256
              raise DataError, "the checkpoint of run #{run.id} is not the one that was uploaded: its SHA-256 " \
                               "differs. Fix: start a new training"
            end

            file.rewind
            unpack(file, folder)
          end
          folder
        end

        private

        def folder_of(id) = id && File.join(Transfer.config.home, "runs", id[/\A[\w-]{1,100}\z/])

        def pack(folder, io)
          Gem::Package::TarWriter.new(io) do |tar|
            files(folder).each do |name|
              path = File.join(folder, name)
              tar.add_file_simple(name, 0o600, File.size(path)) { |entry| IO.copy_stream(path, entry) }
            end
          end
        end

        # Regular files alone; a socket or a lock of the ended process is left out.
        def files(folder)
          names = Dir.glob("**/*", base: folder).reject { |name| name.end_with?(".lock") }
          names.select { |name| File.file?(File.join(folder, name)) }
        end

        def unpack(io, folder)
          part = "#{folder}.part-#{SecureRandom.hex(4)}"
          total = 0
          Gem::Package::TarReader.new(io).each do |entry|
            total += entry.header.size
            if !entry.file? || !entry.full_name.match?(%r{\A(?!\.)[\w.-]+(/(?!\.)[\w.-]+)*\z}) || total > MOST_BYTES
              raise DataError, "the checkpoint has an entry that is no plain file of bounded size: #{entry.full_name}"
            end

            path = File.join(part, entry.full_name)
            FileUtils.mkdir_p(File.dirname(path), mode: 0o700)
            File.open(path, "wb", 0o600) { |out| IO.copy_stream(entry, out) }
          end
          File.rename(part, folder)
        ensure
          FileUtils.rm_rf(part)
        end
      end
    end
  end
end
