# frozen_string_literal: true

module Transfer
  module Rails
    # A model of the application: its versions, one of them live, the trainings and the labelled examples.
    class Model < Record
      has_many :versions, dependent: :destroy
      has_many :runs, dependent: :destroy
      has_many :examples, dependent: :delete_all
      belongs_to :live_version, class_name: "Transfer::Rails::Version", optional: true
      belongs_to :previous_version, class_name: "Transfer::Rails::Version", optional: true

      validates :name, presence: true # unique by its index

      # @param name [String, Symbol]
      # @return [Model] created on first use
      def self.named(name)
        find_by(name: name.to_s) || create_or_find_by!(name: name.to_s)
      end

      # Enqueues a training on the examples.
      #
      # @param recipe [Class, String] a subclass of {Transfer::Recipe}, or its name
      # @return [Run]
      # @raise [TrainingUnderway] if one has not ended yet
      # @raise [Transfer::DataError] if there are no labelled examples
      def train(recipe:)
        run = exclusively { enqueued(recipe.to_s) }
        TrainJob.perform_later(run)
        run
      end

      # Divides the examples, once: the held-out ones measure every version and never train one. Later examples train.
      # @return [self]
      def divide!
        exclusively do
          next if divided_at

          HeldOut.choose(examples, Rails.settings.held_out).each_slice(1000) do |ids|
            examples.where(id: ids).update_all(split: "test")
          end
          update!(divided_at: Time.current)
        end
        examples.where(split: nil).update_all(split: "train")
        self
      end

      # Divides the examples anew, with the corrections that held-out examples have got meanwhile. Versions are compared
      # on the examples that they were measured on, so the live one is measured again before the next comparison.
      # @return [self]
      def divide_again!
        exclusively do
          examples.where.not(proposed_label: nil).find_each { |one| one.update!(label: one.proposed_label) }
          examples.update_all(split: nil, proposed_label: nil)
          update!(divided_at: nil)
        end
        divide!
      end

      # Gives a label another name, also in held-out examples: this is no correction of them. Stored predictions keep
      # the name that their version was trained with.
      #
      # @param from [String]
      # @param to [String]
      # @return [Integer] number of renamed examples
      # @raise [ArgumentError] if `to` is blank
      def rename_label!(from, to)
        raise ArgumentError, "a label is text, got #{to.inspect}" if to.to_s.strip.empty?

        exclusively do
          examples.where(proposed_label: from).update_all(proposed_label: to)
          examples.where(label: from).update_all(label: to)
        end
      end

      # Makes a version serve, within {Settings#check_every} in every process.
      #
      # @param version [Version]
      # @param force [Boolean] true: also one that is measurably worse
      # @return [Version]
      # @raise [NotPromoted] if it is worse than the live one on the same held-out examples
      def promote!(version, force: false)
        comparison = version.compare(live_version) if live_version && live_version != version
        raise NotPromoted, "#{name} #{version.number} is worse: #{comparison}" if comparison&.worse? && !force

        VersionFiles.fetch(version)
        exclusively do
          version.update!(promoted_at: Time.current)
          serve(version) unless live_version == version
        end
        version
      end

      # Makes the version before serve again.
      # @return [Version]
      # @raise [NotPromoted] if the model has no previous version
      def roll_back!
        exclusively do
          raise NotPromoted, "#{name} has no previous version" unless previous_version

          serve(previous_version)
        end
        live_version
      end

      private

      def serve(version)
        previous = live_version
        update!(previous_version: previous, live_version: version)
        ActiveSupport::Notifications.instrument(
          "promote.transfer", model: name, version: version.number, previous: previous&.number
        )
      end

      def enqueued(recipe)
        active = runs.active.first
        raise TrainingUnderway, "a training of #{name} has not ended yet: run #{active.id}" if active
        return runs.create!(recipe:, status: "enqueued") if examples.exists?

        raise DataError, "#{name} has no labelled examples. Fix: label records, or give has_prediction `labels:`"
      end
    end
  end
end
