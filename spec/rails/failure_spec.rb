# frozen_string_literal: true

require_relative "helper"

# Failures around a training or a prediction: a state that a person sees, and nothing lost or done twice.
RSpec.describe "Failures" do
  before { reset }

  after do
    ActiveJob::Base.queue_adapter = :inline
    reset
  end

  let(:model) { Transfer::Rails.model("photos_kind") }

  def version(**words) = model.versions.create!(number: 1, sha256: "0" * 64, held_out: [], summary: {}, **words)

  # A run whose examples are two photos; the training itself is replaced.
  def run(**words)
    Transfer::Testing.fake!(photos_kind: "red")
    labelled(count: 1).each { |one| one.prediction_for(:kind).learn_label }
    model.runs.create!(recipe: "PhotoKindRecipe", status: "enqueued", **words)
  end

  def job(**words)
    instance_double(Transfer::Job, run_id: "r", progress: {}, history: [], warnings: [], cancel: nil, **words)
  end

  describe "of a database with other writers" do
    before { skip "SQLite alone" unless ActiveRecord::Base.connection.adapter_name == "SQLite" }

    # Another process writes after the first statement of this transaction.
    it "don't prevent a promotion" do
      allow(Transfer::Rails::VersionFiles).to receive(:fetch)
      live = version
      model.reload
      other = SQLite3::Database.new(ActiveRecord::Base.connection_db_config.database)
      other.busy_timeout(10)
      refused = nil
      meanwhile = lambda do |*, payload|
        next unless refused.nil? && payload[:sql].match?(/\A(SELECT|UPDATE) .*transfer_models/)

        refused = false
        other.execute("INSERT INTO tickets (body) VALUES ('written meanwhile')")
      rescue SQLite3::BusyException
        refused = true
      end
      ActiveSupport::Notifications.subscribed(meanwhile, "sql.active_record") { model.promote!(live) }
      expect(refused).to be(true)
      expect(model.reload.live_version).to eq(live)
    ensure
      other&.close
    end
  end

  it "of a database that is locked while a state is written end no training" do
    taken = run
    training = job(value: :trained)
    allow(training).to receive(:wait).and_return(nil, training)
    allow(PhotoKindRecipe).to receive(:train_async).and_return(training)
    allow(Transfer::Rails::Version).to receive(:publish).and_return(version)
    allow(Transfer::Rails::VersionFiles).to receive(:fetch)
    locked = true
    allow(Transfer::Rails::Run).to receive(:where).and_wrap_original do |original, *given, **words|
      next original.call(*given, **words) unless locked && words == { id: taken.id }

      locked = false
      raise ActiveRecord::StatementTimeout, "database is locked"
    end
    Transfer::TrainJob.perform_now(taken)
    expect([locked, taken.reload.status]).to eq([false, "succeeded"])
  end

  it "after the publication publish nothing twice" do
    published = version
    taken = run(version: published, status: "running", heartbeat_at: 2.minutes.ago)
    allow(Transfer::Rails::VersionFiles).to receive(:fetch)
    expect(Transfer::Rails::Training).not_to receive(:new)
    Transfer::Rails::Run.requeue_lost
    expect(taken.reload.status).to eq("succeeded")
    expect(model.reload).to have_attributes(live_version: published, versions: [published])
  end

  it "before the publication leave no version without a file" do
    trained = instance_double(Transfer::Model, summary: {}, predict: [])
    allow(trained).to receive(:save) { |path| File.write(path, "content") }
    allow(ActiveStorage::Blob.service).to receive(:upload).and_raise(Errno::ENOSPC)
    expect { Transfer::Rails::Version.publish(run, trained) }.to raise_error(Errno::ENOSPC)
    expect(model.versions).to be_empty
  end

  it "of the disk fail the training with their reason, and not the interruption" do
    taken = run
    allow(PhotoKindRecipe).to receive(:train_async).and_raise(Errno::ENOSPC)
    expect { Transfer::TrainJob.perform_now(taken) }.to raise_error(Errno::ENOSPC)
    expect(taken.reload).to have_attributes(status: "failed", error: /No space left/)

    taken.update!(status: "enqueued")
    training = job
    allow(training).to receive(:wait).and_return(nil, training)
    allow(training).to receive(:value).and_raise(Transfer::Cancelled)
    allow(PhotoKindRecipe).to receive(:train_async).and_return(training)
    allow(Transfer::Rails::Checkpoint).to receive(:upload).and_raise(Errno::ENOSPC)
    Transfer::Rails::Shutdown.begin!
    ActiveJob::Base.queue_adapter = :test
    Transfer::TrainJob.perform_now(taken)
    expect(taken.reload.status).to eq("interrupted")
  end

  it "of a prediction's job are a state of the record" do
    Transfer::Testing.fake!(photos_kind: ->(_) { raise Errno::ENOSPC })
    expect { photo("red") }.to raise_error(Errno::ENOSPC)
    expect(Photo.last.kind_prediction).to have_attributes(state: "failed", error: /Photo \d+: No space left/)
    Transfer::Testing.fake!(photos_kind: "red")
    Photo.predict_all(:kind)
    expect(Photo.last.kind).to eq("red")
  end

  it "of a label that was renamed are a warning, and are mended for all examples" do
    Transfer::Testing.fake!(photos_kind: "red")
    labelled(count: 5).each { |one| one.prediction_for(:kind).learn_label }
    model.divide!
    Photo.where(species: "red").update_all(species: "crimson")
    Photo.find_each { |one| one.prediction_for(:kind).learn_label }
    taken = model.runs.create!(recipe: "PhotoKindRecipe", status: "enqueued")
    training = job(value: :trained, wait: true)
    allow(PhotoKindRecipe).to receive(:train_async).and_return(training)
    allow(Transfer::Rails::Version).to receive(:publish).and_return(version)
    allow(Transfer::Rails::VersionFiles).to receive(:fetch)
    Transfer::TrainJob.perform_now(taken)
    expect(taken.reload.warnings).to match([/no training example has the held-out label red. Fix, .*rename_label!/])

    expect(model.rename_label!("red", "crimson")).to eq(1)
    expect(model.examples.group(:label, :proposed_label).count)
      .to eq(["blue", nil] => 5, ["crimson", nil] => 4, %w[crimson crimson] => 1)
    expect { model.rename_label!("blue", " ") }.to raise_error(ArgumentError, /a label is text/)
  end
end
