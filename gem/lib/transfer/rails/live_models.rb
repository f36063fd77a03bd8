# frozen_string_literal: true

module Transfer
  module Rails
    # The live versions that this process serves. The database is asked at most once per {Settings#check_every}; a new
    # version replaces the previous one as soon as it is loaded.
    module LiveModels
      # A loaded version.
      Live = ::Data.define(:version_id, :model, :checked_at)

      @live = {}
      @lock = Mutex.new

      class << self
        # @param name [String]
        # @return [Live, nil] nil if no version is live
        # @raise [Transfer::ModelFileError] if the first version that is to be served can't be loaded
        def fetch(name)
          fake = Testing.fake(name)
          return Live.new(version_id: nil, model: fake, checked_at: now) if fake

          live = @live[name]
          return live if live && now - live.checked_at < Rails.settings.check_every

          @lock.synchronize { check(name) }
        end

        # Forgets all, as after a fork or in tests.
        def clear = @live = {}

        private

        def check(name)
          live = @live[name]
          version = Version.joins("INNER JOIN transfer_models ON live_version_id = transfer_versions.id")
                           .find_by(transfer_models: { name: })
          return @live.delete(name) && nil unless version

          model = live&.version_id == version.id ? live.model : load(version, live)
          keep(name, model.equal?(live&.model) ? live.version_id : version.id, model)
        end

        def keep(name, version_id, model)
          live = Live.new(version_id:, model:, checked_at: now)
          @live = { **@live, name => live }
          live
        end

        # If the new version can't be loaded, the previous one keeps serving.
        def load(version, live)
          version.load.tap { |model| model.reload if live }
        rescue Error, ActiveStorage::FileNotFoundError => error
          raise unless live

          ::Rails.logger.error("transfer: version #{version.number} can't be served: #{error.message}")
          live.model
        end

        def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
      end
    end
  end
end
