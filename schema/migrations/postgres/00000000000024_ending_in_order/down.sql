DROP INDEX identity_device_end;
DELETE FROM __holdfast_oldest WHERE version = 24;
