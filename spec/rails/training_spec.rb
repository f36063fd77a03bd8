# frozen_string_literal: true

require_relative "helper"

RSpec.describe "Trainings" do
  before { reset }
  after { reset }

  let(:model) { Transfer::Rails.model("photos_kind") }

  # A training with checkpoints; the block is called each time the state is written.
  def slow_run(&during)
    Transfer::Testing.fake!(photos_kind: "red")
    labelled(count: 8).each { |one| one.prediction_for(:kind).learn_label }
    Transfer::Rails.settings.progress_every = 0.2
    run = model.runs.create!(recipe: "SlowRecipe", status: "enqueued")
    allow(Transfer::Rails::Shutdown).to receive(:begun?) { during&.call(run) || false }
    ActiveJob::Base.queue_adapter = :test
    run
  ensure
    Transfer::Testing.reset!
  end

  after do
    ActiveJob::Base.queue_adapter = :inline
    Transfer::Rails.settings.progress_every = 2
  end

  it "goes on after a deploy, on a machine that has only the database and the storage, with the same model" do
    stopped = false
    run = slow_run { |one| stopped ||= one.reload.history.present? }
    Transfer::TrainJob.perform_now(run)
    expect(run.reload).to have_attributes(status: "interrupted", checkpoint: be_attached)
    again = ActiveJob::Base.queue_adapter.enqueued_jobs.find { |job| job["job_class"] == "Transfer::TrainJob" }
    expect(again["arguments"]).to eq([{ "_aj_globalid" => run.to_global_id.to_s }])
    expect(again["continuation"]).to include("current" => ["train", nil]) if ActiveJob.const_defined?(:Continuable)

    Transfer.shutdown
    FileUtils.rm_rf(File.join(Transfer.config.home, "runs"))
    allow(Transfer::Rails::Shutdown).to receive(:begun?).and_return(false)
    Transfer::TrainJob.perform_now(run)
    expect(run.reload).to have_attributes(status: "succeeded", error: nil)
    expect(run.history.map { |epoch| epoch["epoch"] }).to eq([*1..400])

    whole = model.runs.create!(recipe: "SlowRecipe", status: "enqueued")
    Transfer::TrainJob.perform_now(whole)
    expect(whole.reload.history).to eq(run.history)
    # The weights are the same; a prediction depends on the batch by a rounding error.
    scores = [whole, run].map { |one| one.version.held_out.map { |held| held["score"] } }
    expect(scores.first).to match(scores.last.map { |score| be_within(1e-6).of(score) })
  end

  it "stops when the adapter of Active Job announces the end of its process" do
    stopping = false
    adapter = Struct.new(:stop) { def stopping? = stop.call }.new(-> { stopping })
    allow(Transfer::TrainJob).to receive(:queue_adapter).and_return(adapter)
    expect(Transfer::Rails::Shutdown.begun?).to be(false)
    stopping = true
    expect(Transfer::Rails::Shutdown.begun?).to be(true)
  end

  it "is cancelled from the page" do
    run = slow_run { |one| one.reload.cancel && false if one.reload.core_run }
    Transfer::TrainJob.perform_now(run)
    expect(run.reload).to have_attributes(status: "cancelled", version: nil)
    Transfer::TrainJob.perform_now(run)
    expect(run.reload.status).to eq("cancelled")
  end

  it "enqueues the training of a process that died, once" do
    run = model.runs.create!(recipe: "SlowRecipe", status: "running", heartbeat_at: 2.minutes.ago)
    ActiveJob::Base.queue_adapter = :test
    expect(Transfer::Rails::Run.requeue_lost).to eq([run])
    expect(run.reload.status).to eq("interrupted")
    expect(Transfer::Rails::Run.requeue_lost).to be_empty
    expect(run.begin!).to be(true)
    expect(Transfer::Rails::Run.find(run.id).begin!).to be(false)
  end

  it "goes on after kill -9" do
    run = slow_run
    pid = fork do
      Transfer::TrainJob.perform_now(run)
    ensure
      exit!(1)
    end
    sleep 0.1 until run.reload.history.present?
    Process.kill(:KILL, pid)
    Process.wait(pid)
    expect(run.reload.status).to eq("running")
    run.update_columns(heartbeat_at: 2.minutes.ago)
    expect(Transfer::Rails::Run.requeue_lost).to eq([run])
    Transfer::TrainJob.perform_now(run)
    expect(run.reload).to have_attributes(status: "succeeded", error: nil)
    expect(run.history.map { |epoch| epoch["epoch"] }).to eq([*1..400])
  end

  it "refuses a second training, and one without labels" do
    expect { Photo.train_prediction(:kind) }.to raise_error(Transfer::DataError, /no labelled examples/)
    Transfer::Testing.fake!(photos_kind: "red")
    labelled(count: 1)
    ActiveJob::Base.queue_adapter = :test
    run = Photo.train_prediction(:kind)
    expect { Photo.train_prediction(:kind) }
      .to raise_error(Transfer::Rails::TrainingUnderway, /has not ended yet: run #{run.id}/)
    expect(run.cancel.status).to eq("cancelled")
  end

  it "keeps the reason of a failure" do
    Transfer::Testing.fake!(photos_kind: "red")
    photo("red").prediction_for(:kind).correct!("red")
    run = model.train(recipe: "NoRecipe").reload
    expect(run).to have_attributes(status: "failed", error: %r{no recipe NoRecipe. Fix: define it in app/recipes})
    expect(model.train(recipe: "PhotoKindRecipe").reload)
      .to have_attributes(status: "failed", error: /a classifier needs two classes/)
    expect(model.reload.live_version).to be_nil
  end
end

RSpec.describe "Checkpoints" do
  before { reset }
  after { reset }

  let(:run) do
    Transfer::Rails.model("m").runs.create!(recipe: "SlowRecipe", status: "interrupted",
                                            core_run: "20261129-000000-abcdef")
  end

  def attach(bytes, sha256: Digest::SHA256.hexdigest(bytes))
    run.update!(checkpoint_sha256: sha256)
    run.checkpoint.attach(io: StringIO.new(bytes), filename: "c.tar")
  end

  def tar(&)
    io = StringIO.new("".b)
    Gem::Package::TarWriter.new(io, &)
    io.string
  end

  it "are not restored if they are not the ones that were uploaded" do
    attach(tar { |writer| writer.add_file_simple("a", 0o600, 1) { |io| io.write("x") } }, sha256: "0" * 64)
    expect { Transfer::Rails::Checkpoint.restore(run) }
      .to raise_error(Transfer::DataError, /not the one that was uploaded/)
  end

  ["../a", "/etc/a", ".hidden", "a/../../b"].each do |name|
    it "are not unpacked to #{name}" do
      header = Gem::Package::TarHeader.new(name:, mode: 0o600, size: 1, prefix: "", typeflag: "0")
      attach(header.to_s + "x".ljust(512, "\0") + ("\0" * 1024))
      expect { Transfer::Rails::Checkpoint.restore(run) }.to raise_error(Transfer::DataError, /no plain file/)
      expect(Dir[File.join(Transfer.config.home, "runs", "*")].grep(/abcdef/)).to be_empty
    end
  end

  it "have no links" do
    attach(tar { |writer| writer.add_symlink("a", "/etc/passwd", 0o600) })
    expect { Transfer::Rails::Checkpoint.restore(run) }.to raise_error(Transfer::DataError, /no plain file/)
  end
end
