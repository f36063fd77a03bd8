# frozen_string_literal: true

module Transfer
  module Rails
    # A trained model: its file, and its predictions for the held-out examples.
    class Version < Record
      belongs_to :model
      has_one_attached :file
      has_one_attached :report

      # Uploads the file first: a version without a file is never visible.
      # @param run [Run]
      # @param trained [Transfer::Model]
      # @return [Version] not promoted yet
      def self.publish(run, trained)
        model = run.model
        path = VersionFiles.keep(trained)
        file = File.open(path) { |io| ActiveStorage::Blob.create_and_upload!(io:, filename: "#{model.name}.transfer") }
        facts = { file:, sha256: VersionFiles.sha256(path), report: VersionFiles.report(trained),
                  summary: trained.summary.except(:history, :path), held_out: HeldOut.measure(trained, model) }
        model.exclusively do
          version = model.versions.create!(number: (model.versions.maximum(:number) || 0) + 1, **facts)
          run.update!(version:)
          version
        end
      end

      # @return [Boolean]
      def live? = model.live_version_id == id

      # @return [Transfer::Model]
      # @raise [Transfer::ModelFileError] if the attached file is not the one that was published
      def load = Transfer.load(VersionFiles.fetch(self))

      # Compares two versions on the held-out examples that both have predicted.
      # @param other [Version]
      # @return [PairedDifference]
      def compare(other)
        mine, theirs = [self, other].map { |version| version.held_out.to_h { |one| [one["example"], one] } }
        common = mine.keys & theirs.keys
        PairedDifference.of(common.map { |id| mine[id]["loss"] }, common.map { |id| theirs[id]["loss"] })
      end

      # @param other [Version]
      # @return [Array<Array(Example, Hash, Hash)>] held-out examples for which the predictions differ, with both
      def disagreements(other, limit: 50)
        theirs = other.held_out.to_h { |one| [one["example"], one] }
        pairs = held_out.filter_map { |one| [one, theirs[one["example"]]] if differs?(one, theirs[one["example"]]) }
        pairs = pairs.first(limit)
        found = Example.where(id: pairs.map { |one, _| one["example"] }).includes(:record).index_by(&:id)
        pairs.filter_map { |one, their| [found[one["example"]], one, their] if found[one["example"]] }
      end

      # @return [Float, nil] share of correct predictions on the held-out examples; nil without any
      def accuracy = held_out.presence && (held_out.sum { |one| 1.0 - one["loss"] } / held_out.size)

      # What the threshold of `has_prediction accept:` does on the held-out examples.
      # @param threshold [Float]
      # @return [Hash{Symbol => Float}] `coverage`, the share of accepted predictions, and `accuracy` of these
      def at(threshold)
        accepted = held_out.select { |one| one["score"] && one["score"] >= threshold }
        right = accepted.sum { |one| 1.0 - one["loss"] }
        coverage = accepted.size.fdiv([held_out.size, 1].max)
        { coverage:, accuracy: accepted.empty? ? nil : right / accepted.size }
      end

      private

      def differs?(one, their) = their && one["predicted"] != their["predicted"]
    end
  end
end
